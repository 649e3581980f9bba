"""Reads a calendar in a process of its own, whose CPU time and memory are limited.

Strangers write calendars, and their rules can ask for any amount of work. The process is started
for one file and ends with it, so neither its memory nor its time zones stay. If it is killed, hangs
or crashes, the operator loses nothing but this reading.
"""

import asyncio
import pickle
import resource
import sys
from datetime import datetime

from kotatsu_operator.core.calendar.limit import MOST_WORK
from kotatsu_operator.core.calendar.occasions import CalendarError, Occasion

MOST_MEMORY = 64 * 2**20
"""Bytes of memory of the process besides its program: it counts as the operator's own."""

PATIENCE = 120.0
"""Seconds until the process is killed, also if it waits for a CPU."""

Found = tuple[tuple[Occasion, ...], str]
"""The occurrences in a range, and what is left out in words."""


async def occasions(
    data: bytes,
    after: datetime,
    before: datetime,
    *,
    work: float = MOST_WORK,
    memory: int = MOST_MEMORY,
) -> Found:
    """What is in a calendar within a range. Raises CalendarError."""
    arguments = (after.isoformat(), before.isoformat(), str(work), str(memory))
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__, *arguments), stdin=pipe, stdout=pipe
    )
    try:
        async with asyncio.timeout(PATIENCE):
            answer, _ = await child.communicate(data)
    except TimeoutError:
        raise CalendarError(f"is not read within {PATIENCE:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise CalendarError(f"ends its reader with status {child.returncode}")
    found: Found | CalendarError = pickle.loads(answer)  # noqa: S301  (written by `main`)
    if isinstance(found, CalendarError):
        raise found
    return found


def main() -> None:
    """Read the calendar on standard input; write what was found, or why it was refused."""
    after, before = map(datetime.fromisoformat, sys.argv[1:3])
    work, memory = float(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    found: Found | CalendarError
    try:
        found = read_here(sys.stdin.buffer.read(), after, before, work)
    except CalendarError as error:
        found = error
    except MemoryError:
        found = CalendarError(f"takes more than {memory // 2**20} MiB of memory to read")
    sys.stdout.buffer.write(pickle.dumps(found))


def read_here(data: bytes, after: datetime, before: datetime, work: float = MOST_WORK) -> Found:
    """What is in a calendar within a range, read by this process. Raises CalendarError."""
    # Here, because the operator imports this module, and the parser takes memory.
    from kotatsu_operator.core.calendar.repeats import occasions_of

    found = occasions_of(data, after, before, work=work)
    skipped = found.skipped
    first = f": {skipped[0].title!r}: {skipped[0].reason}" if skipped else ""
    return found.occasions, f"{len(skipped)} events are no windows{first}" if skipped else ""


if __name__ == "__main__":
    main()
