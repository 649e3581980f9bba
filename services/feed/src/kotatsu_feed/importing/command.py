"""The command line of `kotatsu-feed import`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from kotatsu_common.settings import EXIT_USAGE, load
from kotatsu_feed.app import prepare, utc_now
from kotatsu_feed.domain.day import day_of
from kotatsu_feed.importing.export import NotAnExportError, read
from kotatsu_feed.importing.users import Brought, NoPetError, brought
from kotatsu_feed.settings import FeedSettings
from kotatsu_feed.storage.bring import Tally, bring
from kotatsu_feed.storage.database import Database, StorageUnavailableError
from kotatsu_feed.storage.migrate import NewerSchemaError

MOST_PETS = 100_000
_SAID = 20
"""Lines about single items; the others are counted."""
_DESCRIPTION = """\
Take the pets of the app's first version from an export of its DynamoDB table Users
into the database of KOTATSU_DATABASE_URL.

A pet that is here already keeps what was chosen here; of its two experiences the
greater one counts, so nothing is lost and a second run changes nothing. If a line
can't be read, nothing is imported unless --skip is given.
"""
_EPILOG = """\
files are the output of
  aws dynamodb scan --table-name Users --output json > users.json
or the data files (*.json.gz) of an export to S3 in the format DynamoDB JSON.

exit codes: 0 done, 1 not done (what was wrong is above), 2 wrong arguments
"""


class Remarks:
    """The first lines, and the number of all: a file can give cause to a million."""

    def __init__(self) -> None:
        self.first: list[str] = []
        self.count = 0

    def add(self, line: str) -> None:
        """Count a line, and keep it if it is to be printed."""
        self.count += 1
        if len(self.first) < _SAID:
            self.first.append(line)


@dataclass
class Found:
    """What the files have."""

    pets: list[Brought] = field(default_factory=list)
    problems: Remarks = field(default_factory=Remarks)
    """Items that can't be read."""
    notices: Remarks = field(default_factory=Remarks)
    """What of a pet is replaced by a default, and the like."""


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = argparse.ArgumentParser(
        prog="kotatsu-feed import",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("files", nargs="+", metavar="FILE", help="an export; - is standard input")
    top.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    top.add_argument("--skip", action="store_true", help="import the rest if lines can't be read")
    top.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return top


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    options = parser().parse_args(arguments)
    settings = load(FeedSettings)
    now = utc_now()
    found = Found()
    try:
        for name in options.files:
            _read(name, found, now)
    except OSError as error:
        _say(f"{error.filename or options.files}: {error.strerror}")
        return EXIT_USAGE
    _report(found)
    if found.problems.count and not options.skip:
        _say("nothing was imported; correct these, or give --skip to import the rest")
        return 1
    try:
        tally = asyncio.run(_bring(settings, found, dry_run=options.dry_run))
    except (StorageUnavailableError, NewerSchemaError) as error:
        _say(f"the database (KOTATSU_DATABASE_URL) can't be used, nothing was imported: {error}")
        return 1
    _print(tally, found, options)
    return 0


def _read(name: str, found: Found, now: datetime) -> None:
    with _open(name) as file:
        try:
            export = read(file)
        except NotAnExportError as error:
            found.problems.add(f"{name} {error}")
            return
    if not export.is_whole:
        found.notices.add(f"{name}: the table has more items than this scan")
    before = len(found.pets)
    for entry in export.entries:
        where = f"{name}, {entry.where}"
        if len(found.pets) >= MOST_PETS:
            found.problems.add(f"{where}: more than {MOST_PETS} pets; import fewer files at once")
            return
        if entry.item is None:
            found.problems.add(f"{where}: {entry.problem}")
            continue
        try:
            pet = brought(entry.item, now, day_of(now))
        except NoPetError as error:
            found.problems.add(f"{where}: {error}")
            continue
        found.pets.append(pet)
        for notice in pet.notices:
            found.notices.add(f"{where}: {notice}")
    _say(f"{name}: {len(found.pets) - before} pets")


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb")


async def _bring(settings: FeedSettings, found: Found, *, dry_run: bool) -> Tally:
    await prepare(settings)
    database = Database(settings.database, pool_size=1, statement_timeout=600)
    try:
        pets = [(one.pet, one.created_at) for one in found.pets]
        return await bring(database, pets, dry_run=dry_run)
    finally:
        await database.close()


def _report(found: Found) -> None:
    for kind, remarks in (("note", found.notices), ("error", found.problems)):
        for line in remarks.first:
            _say(f"{kind}: {line}")
        if remarks.count > _SAID:
            _say(f"{kind}: {remarks.count - _SAID} more")


def _print(tally: Tally, found: Found, options: argparse.Namespace) -> None:
    if options.output == "json":
        result = {"dryRun": options.dry_run, **asdict(tally), "skipped": found.problems.count}
        print(json.dumps(result))  # noqa: T201
        return
    did = "would be imported" if options.dry_run else "imported"
    skipped = f", {found.problems.count} skipped" if found.problems.count else ""
    print(  # noqa: T201
        f"{did}: {tally.new} new pets, {tally.changed} merged with those here,"
        f" {tally.unchanged} already the same{skipped}"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
