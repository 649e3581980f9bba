"""Whether somebody else keeps setting the target's replicas.

A person who scales once is obeyed and not scolded. A manifest that carries `replicas` comes back:
by server-side apply it says so itself, any other way it shows by happening again.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from kotatsu_operator.core.pool.memory import Contest
from kotatsu_operator.core.pool.observation import Write

MEMORY = timedelta(hours=2)
"""A contest is over when nothing has been written for this long: GitOps tools apply at least once
an hour unless told otherwise."""


def remember_write(known: Contest | None, write: Write | None, now: datetime) -> Contest | None:
    """The contest after one more look at who owns the target's replicas."""
    if known is not None and now - known.seen_at >= MEMORY:
        same = write is not None and (write.by, write.at) == (known.by, known.write_at)
        if not same:
            known = None
        elif not known.applied:
            # Nobody has written since: it stands as the one write that it is.
            return replace(known, count=1)
    if write is None:
        return known
    if known is None or known.by != write.by:
        return Contest(write.by, write.at, now, applied=write.applied)
    if known.write_at == write.at:
        return replace(known, applied=known.applied or write.applied)
    return Contest(write.by, write.at, now, known.count + 1, known.applied or write.applied)
