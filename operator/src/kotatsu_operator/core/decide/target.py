"""What is remembered of the target: its pod template, its HPA and who else sets its replicas.

A rollout while the pool sleeps succeeds without a single pod, so a template is unproven until all
floor replicas with it have been Ready once.

An HPA follows demand above the floor. The pool only sets its minReplicas, and makes the changes
from 0 and to 0, at which an HPA does nothing:

- Up: first minReplicas, then the scale; otherwise the HPA would remove the new pods. - Down: first
the scale to 0, then minReplicas; otherwise the HPA would remove serving pods.

A single manual change of the replicas is respected. A manifest with `replicas` is applied again.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.objects import Object, owners
from kotatsu_operator.core.pool.decision import Autoscaler, Observation, Write
from kotatsu_operator.core.pool.memory import Contest, Memory, Original
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR


def remember_template(memory: Memory, seen: Observation) -> Memory:
    """Store the current template; a changed one is unproven."""
    if seen.template in ("", memory.template):
        return memory
    if not memory.template:
        # Written by a version without templates: its warm-ups belong to this template.
        ups = tuple(replace(w, template=seen.template) for w in memory.warm_ups)
        return replace(memory, template=seen.template, warm_ups=ups, proven=bool(ups))
    # A warm-up in progress began with another template: its time measures neither of them.
    return replace(
        memory,
        template=seen.template,
        proven=False,
        raised_at=None,
        metered=None if memory.metered else memory.metered,
    )


def remember_proof(memory: Memory, seen: Observation, floor: int) -> Memory:
    """Record that the template works: all requested pods with it are Ready."""
    if memory.proven or seen.updated < max(floor, 1):
        return memory
    return replace(memory, proven=True)


def remember_original(seen: Autoscaler | None, known: Original | None) -> Original | None:
    """The minReplicas to restore: the last value that another client than the operator set."""
    if seen is None:
        return None
    if known is not None and known.name == seen.name and seen.ours:
        return known
    return Original(seen.name, seen.min_replicas)


def wanted_minimum(
    seen: Autoscaler, original: Original, *, awake: bool, floor: int, replicas: int, released: bool
) -> int:
    """The minReplicas for now.

    `awake` (Warming or Warm): the floor, and at least 1, since only the sleep protocol may remove
    the last pod. On the way down it does not change until the scale is 0. `released` restores it at
    once.

    An HPA with minReplicas 0 would end the last pod outside of the sleep protocol, and start one
    again. So the pool keeps it at 1: with 1, an HPA does nothing at 0 replicas.
    """
    if released:
        return original.min_replicas
    if not awake and replicas == 0:
        return max(original.min_replicas, 1)
    if not awake:
        return seen.min_replicas
    return min(max(original.min_replicas, floor, 1), seen.max_replicas)


def own_steps(seen: Autoscaler, wanted: int | None, floor: int, replicas: int) -> int | None:
    """The scale to set beside an HPA: the floor if the replicas are below it, otherwise None."""
    least = min(max(floor, 1), seen.max_replicas)
    return least if wanted is not None and replicas < least else None


MEMORY = timedelta(hours=2)
"""A contest ends when there was no write for this long: GitOps tools apply at least once an hour by
default."""


def remember_write(known: Contest | None, write: Write | None, now: datetime) -> Contest | None:
    """The contest after one more observation of the owner of the target's replicas."""
    if known is not None and now - known.seen_at >= MEMORY:
        same = write is not None and (write.by, write.at) == (known.by, known.written_at)
        if not same:
            known = None
        elif not known.applied:
            # No write since: it stays a single write.
            return replace(known, count=1)
    if write is None:
        return known
    if known is None or known.by != write.by:
        return Contest(write.by, write.at, now, applied=write.applied)
    if known.written_at == write.at:
        return replace(known, applied=known.applied or write.applied)
    return Contest(write.by, write.at, now, known.count + 1, known.applied or write.applied)


_FRIENDS = frozenset({OPERATOR, ACTIVATOR, "kube-controller-manager"})
"""Kotatsu's own managers, and that of the HPA controller, which may scale the target too."""


def foreign_write(deployment: Object) -> Write | None:
    """The write of `replicas` by another manager that owns the field; None if there is none.

    A manager that writes another value takes over the field. So another owner has written after
    Kotatsu, or before Kotatsu's first write.
    """
    found = [o for o in owners(deployment, "replicas") if o.manager not in _FRIENDS]
    if not found:
        return None
    # A manager that applies will apply again, so it comes first; among equals the newest does.
    owner = max(found, key=lambda o: (o.applies, str(o.at)))
    return Write(owner.manager, owner.at, applied=owner.applies)
