"""Detection of other clients that repeatedly set the target's replicas.

A single manual change is respected without a condition. A manifest with `replicas` is applied
again: server-side apply shows the ownership at once, other writes show it by repetition.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.pool.memory import Contest
from kotatsu_operator.core.pool.observation import Write

MEMORY = timedelta(hours=2)
"""A contest ends when there was no write for this long: GitOps tools apply at least once an hour by
default."""


def remember_write(known: Contest | None, write: Write | None, now: datetime) -> Contest | None:
    """The contest after one more observation of the owner of the target's replicas."""
    if known is not None and now - known.seen_at >= MEMORY:
        same = write is not None and (write.by, write.at) == (known.by, known.write_at)
        if not same:
            known = None
        elif not known.applied:
            # No write since: it stays a single write.
            return replace(known, count=1)
    if write is None:
        return known
    if known is None or known.by != write.by:
        return Contest(write.by, write.at, now, applied=write.applied)
    if known.write_at == write.at:
        return replace(known, applied=known.applied or write.applied)
    return Contest(write.by, write.at, now, known.count + 1, known.applied or write.applied)
