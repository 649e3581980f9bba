"""Sharing a target with a HorizontalPodAutoscaler (HPA).

The HPA follows demand above the floor; the pool moves only the HPA's minReplicas and takes the two
steps an HPA cannot take: from 0 to the floor, and to 0. At 0 replicas an HPA does nothing.

- Up: minReplicas first, then the scale, or the HPA would take the new pods away again.
- Down: the scale to 0 first, then minReplicas, or the HPA would take pods away that still serve.
"""

from kotatsu_operator.core.pool.memory import Original
from kotatsu_operator.core.pool.observation import Autoscaler


def remember_original(seen: Autoscaler | None, known: Original | None) -> Original | None:
    """What minReplicas is to be given back: what somebody other than the operator set last.

    Who edits minReplicas while it is raised has said what it should be without the pool. An HPA
    that is gone has nothing to be given back; another one begins anew.
    """
    if seen is None:
        return None
    if known is not None and known.name == seen.name and seen.ours:
        return known
    return Original(seen.name, seen.min_replicas)


def wanted_minimum(
    seen: Autoscaler, original: Original, *, awake: bool, floor: int, replicas: int, released: bool
) -> int:
    """What minReplicas should be now.

    `awake` is Warming or Warm: the floor holds, and never fewer than one, since only the steps of
    the way down may take the last pod. On the way down it stays until the scale is 0. `released`
    gives it back at once: the pool is suspended.
    """
    if released or (not awake and replicas == 0):
        return original.min_replicas
    if not awake:
        return seen.min_replicas
    return min(max(original.min_replicas, floor, 1), seen.max_replicas)


def own_steps(seen: Autoscaler, wanted: int | None, floor: int, replicas: int) -> int | None:
    """What is left of a scale decision beside an HPA: reaching the floor from below it."""
    least = min(max(floor, 1), seen.max_replicas)
    return least if wanted is not None and replicas < least else None
