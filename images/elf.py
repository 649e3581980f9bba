"""What an ELF file says of itself: its segments, and the libraries that it needs."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\x7fELF\x02\x01"
"""What programs and libraries of a 64-bit little-endian machine begin with."""
_HEADERS_AT, _HEADER_SIZE = 32, 54
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _NAMES_AT = 1, 5


class Segment(NamedTuple):
    """A part of the file that a loader reads: where it is in the file and in memory, in bytes."""

    kind: int
    offset: int
    address: int
    size: int


def header_table(file: bytes) -> range:
    """Where each segment's header begins."""
    (at,) = struct.unpack_from("<Q", file, _HEADERS_AT)
    size, count = struct.unpack_from("<HH", file, _HEADER_SIZE)
    return range(at, at + size * count, size or 1)


def segments(file: bytes) -> Iterator[Segment]:
    """All segments of a file that begins with MAGIC."""
    for header in header_table(file):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", file, header)
        yield Segment(kind, offset, address, size)


def needed(file: bytes) -> set[str]:
    """The names of the libraries that a loader looks for; none if the file is no ELF file."""
    if not file.startswith(MAGIC):
        return set()
    parts = list(segments(file))
    entries = [
        entry
        for part in parts
        if part.kind == _DYNAMIC
        for entry in struct.iter_unpack("<qQ", file[part.offset : part.offset + part.size])
    ]
    names_at = next((value for tag, value in entries if tag == _NAMES_AT), 0)
    for part in parts:
        if part.kind == _LOAD and part.address <= names_at < part.address + part.size:
            first = names_at - part.address + part.offset
            starts = [first + value for tag, value in entries if tag == _NEEDED]
            return {file[at : file.index(b"\0", at)].decode() for at in starts}
    return set()
