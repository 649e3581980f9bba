"""ELF files and Debian trees that are made up."""

import struct
from pathlib import Path

ADDRESS = 0x1000
"""Where the made-up files are in memory: elsewhere than in the file, as in real ones."""


def library(*needed: str) -> bytes:
    """The smallest ELF file that needs these libraries."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    dynamic_at = 64 + 2 * 56
    names_at = dynamic_at + 16 * (len(needed) + 2)
    starts = [names.index(b"\0" + name.encode() + b"\0") + 1 for name in needed]
    entries = [*((1, start) for start in starts), (5, ADDRESS + names_at), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    size = names_at + len(names)
    segments = [(1, 0, size), (2, dynamic_at, len(dynamic))]
    table = b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, at, ADDRESS + at, ADDRESS + at, length, length, 8)
        for kind, at, length in segments
    )
    start = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return start + header + table + dynamic + names


def install(root: Path, name: str, **files: bytes) -> None:
    """Add a package to a Debian tree, with these files in usr/lib."""
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True, exist_ok=True)
    (root / "usr/lib").mkdir(parents=True, exist_ok=True)
    with (info.parent / "status").open("a") as status:
        status.write(f"Package: {name}\nArchitecture: amd64\n\n")
    (info / f"{name}.list").write_text("".join(f"/usr/lib/{file}\n" for file in files))
    for file, content in files.items():
        (root / "usr/lib" / file).write_bytes(content)


def installed(root: Path) -> list[str]:
    """The names in dpkg's list."""
    stanzas = (root / "var/lib/dpkg/status").read_text().split("\n\n")
    return [stanza.partition("\n")[0].removeprefix("Package: ") for stanza in stanzas]
