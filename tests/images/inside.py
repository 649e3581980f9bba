"""Runs in an image, and prints what of it does not work; then it ends with 1.

The loader resolves each ELF file, and each module is imported: Python's own extensions, and those
of our packages.
"""

import importlib
import pkgutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path


def unresolved() -> Iterator[str]:
    """What the loader does not find, or not in the version that a file needs."""
    (loader,) = Path("/").glob("lib*/ld-linux-*.so.*")
    for file in (*Path("/usr").rglob("*"), *Path("/opt").rglob("*")):
        if not file.is_symlink() and file.is_file() and is_loadable(file):
            listed = subprocess.run([loader, "--list", file], capture_output=True, text=True)
            if listed.returncode != 0 or "not found" in listed.stdout + listed.stderr:
                yield f"{file}: {listed.stderr.strip() or listed.stdout}"


def is_loadable(file: Path) -> bool:
    """Whether this is a program or a shared library, which a loader is for."""
    try:
        with file.open("rb") as content:
            start = content.read(18)
    except PermissionError:
        return False
    return start[:4] == b"\x7fELF" and int.from_bytes(start[16:], sys.byteorder) in (2, 3)


def modules() -> Iterator[str]:
    """The names of Python's extensions, and of all modules of our packages."""
    extensions = Path(sysconfig.get_path("platstdlib"), "lib-dynload")
    yield from sorted(file.name.partition(".")[0] for file in extensions.glob("*.so"))
    for package in pkgutil.iter_modules():
        if package.name.startswith("kotatsu_"):
            folders = importlib.import_module(package.name).__path__
            for module in pkgutil.walk_packages(folders, f"{package.name}."):
                if not module.name.endswith("__main__"):
                    yield module.name


def failing(names: Iterator[str]) -> Iterator[str]:
    """The modules that cannot be imported, and why."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            yield f"{name}: {error!r}"


if __name__ == "__main__":
    problems = [*unresolved(), *failing(modules())]
    sys.stdout.write("\n".join(problems))
    sys.exit(1 if problems else 0)
