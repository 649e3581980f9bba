"""The kinds of targets: which one a pool has, and whether the pool can be used.

Each reconcile makes all checks again. People read the message of the first that rejects. No
rejection is stored: after a fix the pool continues from its status.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.targets.deployment import RESTORES, ScaledTarget
from kotatsu_operator.controller.targets.target import Kind, Restores, Target
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.decide.refusal import Refusal, check_dependencies
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.parse import SpecError, parse, salvage
from kotatsu_operator.core.pool.spec import PLATFORM, OnDelete, Platform, PoolSpec
from kotatsu_operator.core.report.conditions import condition
from kotatsu_operator.core.report.record import Entry
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.kube.objects import Key, Object

Kinds = Mapping[str, Kind]
"""The kinds that features bring, by the `kind` of spec.targetRef. All others have a scale."""

NO_KINDS: Kinds = MappingProxyType({})
_SCALED = Kind(ScaledTarget)


def owed_to(entry: Entry, restores: Restores = RESTORES) -> Restores:
    """What to restore for an entry of the record. With onDelete Keep the pods stay."""
    is_kept = entry.on_delete is OnDelete.KEEP
    return {
        name: made
        for name, made in restores.items()
        if name in entry.owed and not (is_kept and made.ends_with_pods)
    }


@dataclass(frozen=True)
class Refused(Refusal):
    """A rejection, and what may still be done: nothing starts, but what runs may end."""

    ends: Ends
    counts: bool
    """Whether this pool's ledger counts the target's pods."""
    stays_because: str = ""
    """Why the pods stay as they are, if the message does not say it."""


def accept(
    key: Key,
    pool: Object,
    cache: Cache,
    last: PoolSpec | None = None,
    platform: Platform = PLATFORM,
    kinds: Kinds = NO_KINDS,
) -> tuple[Target, Refused | None]:
    """A pool's target, and why the pool is rejected: by its spec and by other objects.

    Unreadable fields of the spec are taken from `last`, the last accepted spec, if there is one.
    """
    objections: list[tuple[Refusal, Ends]] = []
    annotations = table(pool["metadata"].get("annotations"))
    try:
        spec = parse(pool["spec"], platform, annotations)
    except SpecError as error:
        spec = salvage(pool["spec"], last, platform)
        objections.append((Refusal("InvalidSpec", str(error)), Ends.SLEEP))
    target = kinds.get(spec.target.kind, _SCALED).make(key, spec, cache)
    objections += [(why, ends) for why, ends in target.objections() if why is not None]
    unordered = check_dependencies(
        key[1], key[0], lambda name: cache.dependencies_of((key[0], name))
    )
    if unordered is not None:
        objections.append((unordered, Ends.SLEEP))
    return target, _refused(target, objections) if objections else None


def _refused(target: Target, objections: list[tuple[Refusal, Ends]]) -> Refused:
    first, ends, because = objections[0][0], min(ends for _, ends in objections), ""
    if target.other_writer and ends is not Ends.NOTHING:
        # The last writer of the replicas was not Kotatsu, so Kotatsu must not lower them.
        ends, because = Ends.NOTHING, f"{target.other_writer} has set the replicas"
    counts = all(refusal.reason != "TargetClaimed" for refusal, _ in objections)
    return Refused(first.reason, first.message, ends, counts, because)


def refused_conditions(refused: Refused, ledger: Ledger, pods: int) -> list[Status]:
    """Accepted, Ready and Warm of a rejected pool: the reason, what still runs and its cost."""
    text = refused.message + "".join(f"; {said}" for said in _still(refused, ledger, pods))
    return [condition(kind, False, refused.reason, text) for kind in ("Accepted", "Ready", "Warm")]


def _still(refused: Refused, ledger: Ledger, pods: int) -> Iterator[str]:
    if not refused.counts:
        return
    if pods == 0:
        return
    cost = f" at {ledger.rate:.2f} {ledger.currency} an hour" if ledger.currency else ""
    running = f"{pods} of its pods still run{cost}"
    if refused.ends is Ends.SLEEP:
        yield f"{running}, until nothing needs them; then they sleep"
    elif refused.ends is Ends.LOWER:
        yield f"{running}, until nothing needs them; one stays, because no request could wake it"
    else:
        why = f" ({refused.stays_because})" if refused.stays_because else ""
        yield f"{running}, and Kotatsu does not scale them{why}: to stop them, scale the target"
