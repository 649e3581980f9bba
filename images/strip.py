"""Cut symbols and debug information off shared libraries: `python3 strip.py FOLDER`.

A loader reads a library's segments alone; what follows the last of them is for debuggers. Python's
wheels carry a lot of it (uvloop: 12 of 14 MB), and no image we build from has a `strip`.
"""

import struct
import sys
from pathlib import Path

_ELF64 = b"\x7fELF\x02\x01"
"""What the libraries of a 64-bit little-endian machine begin with; others are left as they are."""
_HEADERS_AT, _SECTIONS_AT, _HEADER_SIZE, _SECTION_COUNT = 32, 40, 54, 60


def stripped(library: bytes) -> bytes:
    """A library without what no loader reads; anything else as it is."""
    if not library.startswith(_ELF64):
        return library
    (at,) = struct.unpack_from("<Q", library, _HEADERS_AT)
    size, count = struct.unpack_from("<HH", library, _HEADER_SIZE)
    end = at + size * count
    for header in range(at, end, size):
        offset, in_file = (struct.unpack_from("<Q", library, header + n)[0] for n in (8, 32))
        end = max(end, offset + in_file)
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, _SECTIONS_AT, 0)
    struct.pack_into("<HH", kept, _SECTION_COUNT, 0, 0)
    return bytes(kept)


def main(folder: Path) -> None:
    """Strip every library below a folder."""
    for file in folder.rglob("*.so*"):
        if file.is_symlink() or not file.is_file():
            continue
        before = file.read_bytes()
        after = stripped(before)
        if len(after) < len(before):
            file.write_bytes(after)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
