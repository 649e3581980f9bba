"""The kubectl plugin as one file that any Python runs, as krew's archive, and krew's manifest."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import marshal
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from kotatsu_node.errors import NodeError

NAME = "kubectl-demo_mode"
COMPLETE = "kubectl_complete-demo_mode"
"""What kubectl calls to complete the plugin's words."""
ARCHIVE = f"{NAME}.tar.gz"
MANIFEST = "demo-mode.yaml"
_OWN = {"kotatsu_demo_mode": "operator/plugin/src", "kotatsu_operator": "operator/src"}
"""Packages of the tree, and the folders that they are in."""
_OTHERS = ("cronsim", "dateutil", "icalendar", "tzdata", "yaml")
_DISTRIBUTIONS = ("cronsim", "python-dateutil", "icalendar", "tzdata", "PyYAML")
_OPERATOR = ("kotatsu_operator/__init__.py", "kotatsu_operator/core/")
"""What the plugin uses of the operator."""
_COMPILED = (".so", ".pyd", ".pyc", ".pyi")
"""For one Python on one machine, or for type checkers; PyYAML does without its compiled part."""
_AT_EACH_START = ("kotatsu_demo_mode/", "kotatsu_operator/core/", "cronsim/", "tzdata/__init__")
_UNUSED = "icalendar/tests/"
_EARLIEST = (1980, 1, 1, 0, 0, 0)

# A zip file may begin with anything. python3 comes first: it is the one that people have chosen.
# -IS: nothing of its environment is imported, and it starts in half the time. -V starts no
# interpreter.
_LAUNCHER = """\
#!/bin/sh
# kubectl demo-mode: a zip archive of Python modules behind this script.
for python in python3 python3.14 python3.13 python3.12 python3.11; do
  case "$("$python" -V 2>/dev/null)" in
    "Python 3.1"[1-9]* | "Python 3."[2-9][0-9]*) exec "$python" -IS "$0" "$@" ;;
  esac
done
if command -v uv >/dev/null; then
  exec uv run --quiet --no-project --python '>=3.11' "$0" "$@"
fi
echo "error: kubectl demo-mode needs Python 3.11 or newer, or uv, on the PATH" >&2
exit 1
"""
_MAIN = """\
import sys

from kotatsu_demo_mode.__main__ import complete, main

if sys.argv[1:2] == ["__complete"]:
    del sys.argv[1]
    complete()
else:
    main()
"""
_COMPLETE = """\
#!/bin/sh
# Completes `kubectl demo-mode`: kubectl calls it, where it is on the PATH.
exec kubectl demo-mode __complete "$@"
"""
_MANIFEST = """\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: demo-mode
spec:
  version: v{version}
{homepage}  shortDescription: Keep warm pools warm for a demo, see what comes
  description: |
    The switch of Kotatsu's warm pools: keep pods warm for a while and no longer, see when windows
    open and close and what they cost, and run the next window now as a rehearsal.
  caveats: |
    It needs Python 3.11 or newer (python3, or python3.11 and so on), or uv, on the PATH, and the
    chart kotatsu in the cluster. To complete its words with kubectl's:
      root="${{KREW_ROOT:-$HOME/.krew}}"
      cp "$root/store/demo-mode/v{version}/{complete}" "$root/bin/"
  platforms:
    - selector:
        matchExpressions:
          - {{key: os, operator: In, values: [linux, darwin]}}
      uri: {uri}
      sha256: {sha256}
      bin: {bin}
      files:
        - {{from: "*", to: .}}
"""


def program(tree: Path) -> bytes:
    """The plugin as one executable file. The same sources and Python make the same bytes."""
    packed = io.BytesIO()
    packed.write(_LAUNCHER.encode())
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [("__main__.py", _MAIN.encode()), *_modules(tree), *_licenses()]:
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), data, zipfile.ZIP_DEFLATED)
            if name.endswith(".py") and name.startswith(_AT_EACH_START):
                info = zipfile.ZipInfo(f"{name}c", _EARLIEST)
                archive.writestr(info, _bytecode(name, data), zipfile.ZIP_STORED)
    return packed.getvalue()


def archive(tree: Path) -> bytes:
    """What krew unpacks: the program, the completion helper and the license."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data, mode in (
            (NAME, program(tree), 0o755),
            (COMPLETE, _COMPLETE.encode(), 0o755),
            ("LICENSE", (tree / "LICENSE").read_bytes(), 0o644),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def manifest(version: str, uri: str, data: bytes, homepage: str = "") -> str:
    """The manifest for krew, for an archive that is found at an address."""
    return _MANIFEST.format(
        version=version,
        homepage=f"  homepage: {homepage}\n" if homepage else "",
        complete=COMPLETE,
        uri=uri,
        sha256=hashlib.sha256(data).hexdigest(),
        bin=NAME,
    )


def write(tree: Path, where: Path, version: str, downloads: str, homepage: str = "") -> list[Path]:
    """Write program, completion helper, archive and manifest; their paths.

    `downloads` is the address of the folder that the archive is downloaded from; without one the
    manifest names the file itself.
    """
    data = archive(tree)
    here = (where / ARCHIVE).resolve().as_uri()
    address = f"{downloads.rstrip('/')}/{ARCHIVE}" if downloads else here
    files = {
        NAME: program(tree),
        COMPLETE: _COMPLETE.encode(),
        ARCHIVE: data,
        MANIFEST: manifest(version, address, data, homepage).encode(),
    }
    where.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (where / name).write_bytes(content)
    for name in (NAME, COMPLETE):
        (where / name).chmod(0o755)
    return [where / name for name in files]


def _bytecode(name: str, source: bytes) -> bytes:
    """A module for the Python that packs it; any other one reads the source beside it.

    Python keeps no bytecode of modules in an archive, and compiling takes half of a start.
    """
    unchecked = 0b01.to_bytes(4, "little")  # PEP 552: the source need not be read
    code = compile(source, name, "exec", dont_inherit=True)
    head = importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source)
    # Of marshal's formats, only those before 3 are the same in each process. From Python 3.14 on,
    # code has slices, and only format 5 holds them.
    return head + marshal.dumps(code, 2 if sys.version_info < (3, 14) else marshal.version)


def _modules(tree: Path) -> Iterator[tuple[str, bytes]]:
    """The modules that it needs: ours from the tree, those of others from this environment."""
    roots = {package: tree / folder / package for package, folder in _OWN.items()}
    for package in _OTHERS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise NodeError(f"the package {package} is not installed", hint="run `make venv`")
        roots[package] = Path(spec.origin).parent
    for package, root in roots.items():
        for path in sorted(root.rglob("*")):
            name = f"{package}/{path.relative_to(root).as_posix()}"
            is_needed = package != "kotatsu_operator" or name.startswith(_OPERATOR)
            is_needed = is_needed and not name.startswith(_UNUSED)
            if is_needed and path.is_file() and not name.endswith(_COMPILED):
                yield name, path.read_bytes()


def _licenses() -> Iterator[tuple[str, bytes]]:
    """The licenses of the packages of others, which go with their files."""
    for distribution in _DISTRIBUTIONS:
        for file in metadata.files(distribution) or ():
            if "dist-info" in file.parts[0] and "LICENSE" in file.name.upper():
                yield f"licenses/{distribution}/{file.name}", file.read_binary()
