"""Whether the target's pod template is known to work.

A rollout while the pool sleeps succeeds with no pod at all: Kubernetes has nothing to object to. So
a template counts as unproven until every floor replica of it has been Ready once. What was learned
of the warm-ups of another template is a guess from then on, which `lead` treats with care.
"""

from dataclasses import replace

from kotatsu_operator.core.pool.memory import Memory, WarmUp
from kotatsu_operator.core.pool.observation import Observation


def remember_template(memory: Memory, seen: Observation) -> Memory:
    """Note which template is in force; a changed one has to prove itself."""
    if seen.template in ("", memory.template):
        return memory
    if not memory.template:
        # Written by a version that did not know templates: what has been learned is of this one.
        ups = tuple(WarmUp(w.seconds, w.replicas, seen.template) for w in memory.warm_ups)
        return replace(memory, template=seen.template, warm_ups=ups, proven=bool(ups))
    # A warm-up under way has been one of another template so far: it measures neither.
    return replace(memory, template=seen.template, proven=False, raised_at=None)


def remember_proof(memory: Memory, seen: Observation, floor: int) -> Memory:
    """Note that the template has worked: as many of its pods are Ready as are asked for."""
    if memory.proven or seen.updated < max(floor, 1):
        return memory
    return replace(memory, proven=True)
