"""Cut symbols and debug information off shared libraries: `python3 strip.py FOLDER`.

A loader reads a library's segments alone; what follows the last of them is for debuggers. Python's
wheels carry a lot of it (uvloop: 12 of 14 MB), and no image we build from has a `strip`.
"""

import struct
import sys
from pathlib import Path

import elf

_SECTIONS_AT, _SECTION_COUNT = 40, 60


def stripped(library: bytes) -> bytes:
    """A library without what no loader reads; anything else as it is."""
    if not library.startswith(elf.MAGIC):
        return library
    ends = [part.offset + part.size for part in elf.segments(library)]
    kept = bytearray(library[: max(elf.header_table(library).stop, *ends)])
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
