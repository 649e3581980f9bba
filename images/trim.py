"""Take out of a Debian image what a running service never uses: `python3 trim.py`, as root.

Packages go with their files and with their entry in dpkg's list, so that a scanner sees what is
there. Their scripts are not run: they would put into order what goes as well. What stays: Python,
certificates, time zones, a shell, coreutils for preStop hooks and for looking around, and each
library that one of these needs.

Docker's images of Python have no bytecode of Python's own library, and the root of our pods is
read-only: each start would compile it, which takes 0.3 s. So it is compiled here.
"""

import compileall
import py_compile
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import elf

PACKAGES = re.compile(
    "|".join(
        (
            # Installing software.
            r"apt|gpgv|sqv|debian-archive-keyring|dpkg|debconf",
            r"python3-pip-whl|python3-setuptools-whl|python3(\.\d+)?-venv",
            # Users, disks, terminals, and starting a system.
            r"adduser|passwd|login(\.defs)?|mount|util-linux(-extra)?|bsdutils|e2fsprogs|logsave",
            r"base-passwd|ncurses-bin|init-system-helpers|sysvinit-utils|hostname",
            # Tools that are neither a shell nor coreutils.
            r"bash|perl-base|mawk|sed|grep|tar|gzip|diffutils|findutils|debianutils|openssl",
            # Libraries. Those of C and C++ stay: wheels expect them. libc-bin has the locale.
            r"lib(?!c6|c-bin|gcc-s1|stdc\+\+6|python).*",
        )
    )
)
"""What goes, unless what stays needs a library of it."""
PATHS = (
    "usr/lib/*/gconv",  # character sets of C programs; Python has its own
    "usr/lib/*/perl-base",
    "usr/lib/python3*/ensurepip",
    "usr/lib/python3*/idlelib",
    "usr/lib/python3*/lib-dynload/_*dbm.*",  # for each of them a library would stay
    "usr/lib/python3*/pydoc_data",
    "usr/lib/python3*/test",
    "usr/lib/python3*/turtledemo",
    "usr/local/lib/python3*/config-*",
    "usr/local/lib/python3*/ensurepip",
    "usr/local/lib/python3*/idlelib",
    "usr/local/lib/python3*/lib-dynload/_*dbm.*",
    "usr/local/lib/python3*/lib-dynload/_tkinter.*",  # Docker's images lack its library
    "usr/local/lib/python3*/pydoc_data",
    "usr/local/lib/python3*/site-packages/pip*",
    "usr/local/lib/python3*/test",
    "usr/local/lib/python3*/turtledemo",
    "usr/share/python-wheels",
    "var/cache/*",
    "var/lib/apt",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/info/*.symbols",
    "var/lib/dpkg/info/*.templates",
    "var/log/*",
)


def trim(root: Path) -> None:
    """Take the paths and packages out of the tree at `root`."""
    root = root.resolve()
    for pattern in PATHS:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    status = root / "var/lib/dpkg/status"
    stanzas = status.read_text().strip().split("\n\n") if status.exists() else []
    owned = {stanza: set(_files(root, stanza)) for stanza in stanzas}
    goes = _unneeded(root, owned)
    stays = [stanza for stanza in stanzas if stanza not in goes]
    for file in _of(owned, goes) - _of(owned, stays):
        if file.is_symlink() or file.is_file():
            file.unlink()
    for stanza in goes:
        for about in _about(root, stanza):
            about.unlink()
    if stanzas:
        status.write_text("\n\n".join(stays) + "\n")
    _remove_dangling(root.glob("etc/alternatives/*"))
    _remove_dangling(root.glob("usr/bin/*"))


def _unneeded(root: Path, owned: dict[str, set[Path]]) -> set[str]:
    """The stanzas of PACKAGES without those that have a library which anything else needs."""
    needed = {file: names for file in (root / "usr").rglob("*") if (names := _needed(file))}
    goes = {stanza for stanza in owned if PACKAGES.fullmatch(_name(stanza))}
    while True:
        gone = _of(owned, goes)
        wanted = {name for file, names in needed.items() if file not in gone for name in names}
        back = {stanza for stanza in goes if wanted & {file.name for file in owned[stanza]}}
        if not back:
            return goes
        goes -= back


def _needed(file: Path) -> set[str]:
    if file.is_symlink() or not file.is_file():
        return set()
    with file.open("rb") as content:
        start = content.read(len(elf.MAGIC))
        return elf.needed(start + content.read()) if start == elf.MAGIC else set()


def _of(owned: dict[str, set[Path]], stanzas: Iterable[str]) -> set[Path]:
    return {file for stanza in stanzas for file in owned[stanza]}


def compile_library(root: Path) -> None:
    """Compile what of Python's own library in the tree at `root` has no bytecode yet."""
    for folder in (*root.glob("usr/lib/python3.*"), *root.glob("usr/local/lib/python3.*")):
        compileall.compile_dir(
            folder,
            quiet=2,
            workers=0,
            stripdir=str(root),
            prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def _name(stanza: str) -> str:
    return stanza.partition("\n")[0].removeprefix("Package: ")


def _about(root: Path, stanza: str) -> Iterator[Path]:
    """What dpkg keeps of a package: its list of files, its scripts."""
    info, name = root / "var/lib/dpkg/info", _name(stanza)
    yield from info.glob(f"{name}.*")
    yield from info.glob(f"{name}:*.*")


def _files(root: Path, stanza: str) -> Iterator[Path]:
    """A package's files but its copyright, by their real folder (/bin is a link to /usr/bin)."""
    for about in _about(root, stanza):
        if about.suffix == ".list":
            for line in about.read_text().splitlines():
                path = root / line.lstrip("/")
                if path.name != "copyright":
                    yield path.parent.resolve() / path.name


def _remove_dangling(links: Iterable[Path]) -> None:
    for link in links:
        if link.is_symlink() and not link.exists():
            link.unlink()


if __name__ == "__main__":
    TREE = Path(sys.argv[1] if len(sys.argv) > 1 else "/")
    trim(TREE)
    compile_library(TREE)
