"""Whether the target's current pod template is known to work.

A rollout while the pool sleeps succeeds without a single pod, so Kubernetes detects no error. A
template is therefore unproven until all floor replicas with it have been Ready once. Warm-ups of an
earlier template are then only an estimate (see `plan.lead`).
"""

from dataclasses import replace

from kotatsu_operator.core.pool.memory import Memory, WarmUp
from kotatsu_operator.core.pool.observation import Observation


def remember_template(memory: Memory, seen: Observation) -> Memory:
    """Store the current template; a changed one is unproven."""
    if seen.template in ("", memory.template):
        return memory
    if not memory.template:
        # Written by a version without templates: its warm-ups belong to this template.
        ups = tuple(WarmUp(w.seconds, w.replicas, seen.template) for w in memory.warm_ups)
        return replace(memory, template=seen.template, warm_ups=ups, proven=bool(ups))
    # A warm-up in progress began with another template: its time measures neither of them.
    return replace(memory, template=seen.template, proven=False, raised_at=None)


def remember_proof(memory: Memory, seen: Observation, floor: int) -> Memory:
    """Record that the template works: all requested pods with it are Ready."""
    if memory.proven or seen.updated < max(floor, 1):
        return memory
    return replace(memory, proven=True)
