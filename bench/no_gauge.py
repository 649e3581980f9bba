"""The race of `peers` for an app without a gauge, through Kotatsu; only when asked for.

KEDA asks for no gauge, so its rows of `peers` hold for this app too.
"""

import uvloop

from peers import NO_GAUGE, race, raced_systems
from report import Row
from systems import OURS
from topic import again, main

ON_REQUEST = True
SECONDS = 5400


async def rows(quick: bool) -> list[Row]:
    """All that `peers` measures."""
    [ours] = [system for system in raced_systems() if system.name == OURS]
    return await race(ours, NO_GAUGE, quick, again("no_gauge"))


if __name__ == "__main__":
    uvloop.install()
    main(rows)
