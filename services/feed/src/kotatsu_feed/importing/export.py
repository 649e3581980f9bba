"""Items of a DynamoDB table in a file: output of `aws dynamodb scan`, or an export to S3.

An export to S3 in DynamoDB JSON has an object with one `Item` on each line, and its files are
gzipped (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html).
A scan is one object with a list `Items`.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

MAX_BYTES = 16 * 1024 * 1024
"""Of one file, unpacked: some thirty thousand pets, and what a pod of feed can hold."""
MOST_VALUES = 1_000_000
"""Of one file: a pet has some twenty. A value is some hundred bytes of memory, and one of gzip."""
_GZIP = b"\x1f\x8b"
_BEGINNINGS = (b"{", b"[", b",", b"\n")
"""One of these is before each value of JSON, or each line. A text may have some too."""
_WHOLE = ("LastEvaluatedKey", "NextToken")
"""Keys of a scan that was ended before the end of the table."""


class NotAnExportError(ValueError):
    """The whole file can't be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item, or why there is none at this place."""

    where: str
    item: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Export:
    """What a file has."""

    entries: tuple[Entry, ...]
    is_whole: bool = True
    """False for a scan that says that the table has more."""


def read(file: BinaryIO) -> Export:
    """All items of a file; NotAnExportError if it has none at all in a form that is known."""
    text = _text(file)
    try:
        scan = json.loads(text)
    except (ValueError, RecursionError):
        scan = None
    if isinstance(scan, dict) and isinstance(scan.get("Items"), list):
        found = (_entry(f"item {n}", item) for n, item in enumerate(scan["Items"], start=1))
        return Export(tuple(found), not any(scan.get(key) for key in _WHOLE))
    entries = tuple(_lines(text))
    if not any(entry.item is not None for entry in entries):
        raise NotAnExportError(
            "is neither the output of `aws dynamodb scan --table-name Users --output json`"
            " nor a data file of an export to S3 in the format DynamoDB JSON"
        )
    return Export(entries)


def _text(file: BinaryIO) -> str:
    data = file.read(MAX_BYTES + 1)
    if data.startswith(_GZIP):
        try:
            data = gzip.GzipFile(fileobj=BytesIO(data)).read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise NotAnExportError(f"is a damaged gzip file: {error}") from None
    if len(data) > MAX_BYTES:
        raise NotAnExportError(f"has more than {MAX_BYTES // 1024**2} MiB; split it by lines")
    if sum(data.count(begin) for begin in _BEGINNINGS) > MOST_VALUES:
        raise NotAnExportError(f"has more than {MOST_VALUES} values; split it by lines")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise NotAnExportError(f"is not UTF-8: line {line}") from None


def _lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            yield Entry(where, None, "is not JSON")
            continue
        if isinstance(found, dict) and "Item" in found:
            yield _entry(where, found["Item"])
        else:
            yield Entry(where, None, 'has no "Item"')


def _entry(where: str, item: object) -> Entry:
    if isinstance(item, dict):
        return Entry(where, item)
    return Entry(where, None, "is not an object")
