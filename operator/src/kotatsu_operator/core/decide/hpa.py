"""Targets with a HorizontalPodAutoscaler (HPA).

The HPA follows demand above the floor. The pool only sets the HPA's minReplicas and makes the two
changes that an HPA cannot make: from 0 to the floor, and to 0. At 0 replicas an HPA does nothing.

- Up: first minReplicas, then the scale; otherwise the HPA would remove the new pods.
- Down: first the scale to 0, then minReplicas; otherwise the HPA would remove serving pods.
"""

from kotatsu_operator.core.pool.memory import Original
from kotatsu_operator.core.pool.observation import Autoscaler


def remember_original(seen: Autoscaler | None, known: Original | None) -> Original | None:
    """The minReplicas to restore: the last value that another client than the operator set.

    An edit of minReplicas while the pool has raised it is the new value to restore. If the HPA is
    gone, there is nothing to restore; a new HPA starts with its own value.
    """
    if seen is None:
        return None
    if known is not None and known.name == seen.name and seen.ours:
        return known
    return Original(seen.name, seen.min_replicas)


def wanted_minimum(
    seen: Autoscaler, original: Original, *, awake: bool, floor: int, replicas: int, released: bool
) -> int:
    """The minReplicas for now.

    `awake` is Warming or Warm: minReplicas is the floor, and at least 1, since only the sleep
    protocol may remove the last pod. On the way down it does not change until the scale is 0.
    `released` restores it at once, for a suspended pool or a rejected one.
    """
    if released or (not awake and replicas == 0):
        return original.min_replicas
    if not awake:
        return seen.min_replicas
    return min(max(original.min_replicas, floor, 1), seen.max_replicas)


def own_steps(seen: Autoscaler, wanted: int | None, floor: int, replicas: int) -> int | None:
    """The scale to set beside an HPA: the floor if the replicas are below it, otherwise None."""
    least = min(max(floor, 1), seen.max_replicas)
    return least if wanted is not None and replicas < least else None
