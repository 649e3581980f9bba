"""The kinds of targets, by the `kind` of spec.targetRef."""

from collections.abc import Mapping

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.targets.deployment import DeploymentTarget, ScaledTarget
from kotatsu_operator.controller.targets.knative import KnativeTarget
from kotatsu_operator.controller.targets.target import Restore, Target
from kotatsu_operator.core.pool.spec import KNATIVE
from kotatsu_operator.core.pool.spec import OnDelete, PoolSpec
from kotatsu_operator.core.report.record import Entry
from kotatsu_operator.kube.objects import Key

KINDS: Mapping[str, type[Target]] = {"Deployment": DeploymentTarget, KNATIVE: KnativeTarget}


def kind_of(name: str) -> type[Target]:
    """A kind by its name. Any other kind has a scale subresource."""
    return KINDS.get(name, ScaledTarget)


def target_of(key: Key, spec: PoolSpec, cache: Cache) -> Target:
    """A pool's target, read from the cache."""
    return kind_of(spec.target.kind)(key, spec, cache)


def other_kinds(target: Target) -> list[type[Target]]:
    """The kinds that a pool may have had as its target before."""
    return [kind for kind in KINDS.values() if not isinstance(target, kind)]


def restores(entry: Entry) -> dict[str, Restore]:
    """What to restore for an entry of the record, by the field of the status, in order.

    With onDelete Keep the pods stay.
    """
    is_kept = entry.on_delete is OnDelete.KEEP
    known = {name: made for kind in KINDS.values() for name, made in kind.restores.items()}
    return {
        name: made
        for name, made in known.items()
        if name in entry.owed and not (is_kept and made.ends_with_pods)
    }
