"""Take out of a Debian image what a running service never uses: `python3 trim.py`, as root.

Packages go with their files and with their entry in dpkg's list, so that a scanner sees what is
there. Their scripts are not run: they would put into order what goes as well. What stays: Python,
its libraries, certificates, time zones, a shell, and coreutils for preStop hooks and for looking
around.

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

PACKAGES = re.compile(
    "|".join(
        (
            # Installing software.
            r"apt|libapt-pkg.*|gpgv|sqv|debian-archive-keyring|dpkg|libdebconfclient0|debconf",
            r"python3-pip-whl|python3-setuptools-whl|python3(\.\d+)?-venv|python3-distutils",
            r"python3-lib2to3",
            # Users, disks, terminals, and starting a system.
            r"adduser|passwd|login(\.defs)?|libpam.*|libsemanage.*|libsepol2|libaudit.*|mount",
            r"util-linux(-extra)?|bsdutils|e2fsprogs|libext2fs.*|libss2|logsave|libblkid1",
            r"libmount1|libsmartcols1|ncurses-bin|init-system-helpers|sysvinit-utils|libsystemd0",
            r"libudev1|libseccomp2|libcap2|libcap-ng0|hostname",
            # Tools that are neither a shell nor coreutils.
            r"bash|perl-base|mawk|sed|grep|tar|gzip|diffutils|findutils|debianutils|openssl",
            # Libraries of the above, or of modules that Python itself has given up (nis, dbm).
            r"libgnutls30.*|libp11-kit0|libunistring\d|libnettle.*|libhogweed.*|libtasn1-6",
            r"libidn2-0|libgcrypt20|libgpg-error0|libdb5\.3.*|libnsl2|libtirpc.*|libxxhash0",
            r"libgssapi-krb5-2|libkrb5-3|libkrb5support0|libk5crypto3|libkeyutils1|libcom-err2",
            r"libzstd1|liblz4-1",
        )
    )
)
FOLDERS = (
    "usr/lib/*/gconv",  # character sets of C programs; Python has its own
    "usr/lib/*/perl-base",
    "usr/lib/python3*/ensurepip",
    "usr/lib/python3*/idlelib",
    "usr/lib/python3*/lib2to3",
    "usr/lib/python3*/pydoc_data",
    "usr/lib/python3*/test",
    "usr/lib/python3*/turtledemo",
    "usr/local/lib/python3*/ensurepip",
    "usr/local/lib/python3*/idlelib",
    "usr/local/lib/python3*/lib2to3",
    "usr/local/lib/python3*/pydoc_data",
    "usr/local/lib/python3*/site-packages/pip*",
    "usr/local/lib/python3*/test",
    "usr/local/lib/python3*/turtledemo",
    "usr/share/python-wheels",
    "var/cache/*",
    "var/lib/apt",
    "var/lib/dpkg/*-old",
    "var/log/*",
)


def trim(root: Path) -> None:
    """Take the packages and folders out of the tree at `root`."""
    status = root / "var/lib/dpkg/status"
    stanzas = status.read_text().strip().split("\n\n") if status.exists() else []
    goes = [s for s in stanzas if PACKAGES.fullmatch(_name(s))]
    stays = [s for s in stanzas if s not in goes]
    kept = {file for stanza in stays for file in _files(root, stanza)}
    for stanza in goes:
        for file in set(_files(root, stanza)) - kept:
            if file.is_symlink() or file.is_file():
                file.unlink()
        for about in _about(root, stanza):
            about.unlink()
    if stanzas:
        status.write_text("\n\n".join(stays) + "\n")
    for pattern in FOLDERS:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _remove_dangling(root.glob("etc/alternatives/*"))
    _remove_dangling(root.glob("usr/bin/*"))


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
