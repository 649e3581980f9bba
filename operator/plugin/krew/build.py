"""Builds what krew installs: an archive with the plugin and its few packages, and the manifest.

    python operator/plugin/krew/build.py build/plugin --uri https://…/kubectl-demo_mode.tar.gz

The packages are this environment's. The same sources make the same archive: no times, no owners.
"""

import argparse
import gzip
import hashlib
import importlib.util
import io
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "kubectl-demo_mode"
PACKAGES = ("kotatsu_demo_mode", "kotatsu_operator", "cronsim", "tzdata", "yaml")
# Of the operator, the plugin uses the core alone.
_OPERATOR = ("kotatsu_operator/__init__.py", "kotatsu_operator/core/")

LAUNCHER = """\
#!/usr/bin/env python3
import os
import sys

if sys.version_info < (3, 11):
    sys.exit("error: kubectl demo-mode needs Python 3.11 or newer; put one first on the PATH")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
from kotatsu_demo_mode.__main__ import main

main()
"""


def _sources() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None  # noqa: PT018, S101
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            name = f"{package}/{path.relative_to(root)}"
            # Compiled parts are for one Python on one machine; PyYAML does without its own.
            if (
                not path.is_file()
                or "__pycache__" in name
                or path.suffix in (".so", ".pyd", ".pyc")
            ):
                continue
            if package != "kotatsu_operator" or name.startswith(_OPERATOR):
                yield name, path


def archive() -> bytes:
    """The tar.gz."""
    entries = [(NAME, LAUNCHER.encode(), 0o755)]
    entries += [(f"lib/{name}", path.read_bytes(), 0o644) for name, path in _sources()]
    entries.append(("LICENSE", (HERE.parents[2] / "LICENSE").read_bytes(), 0o644))
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data, mode in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def manifest(uri: str, data: bytes) -> str:
    """The manifest for an archive at an address."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    text = (HERE / "plugin.yaml").read_text().split("\n", 1)[1]
    text = text.replace("URI", uri).replace("SHA256", hashlib.sha256(data).hexdigest())
    return text.replace("VERSION", f"v{project['version']}")


def build(where: Path, uri: str) -> None:
    """Write both."""
    where.mkdir(parents=True, exist_ok=True)
    data = archive()
    (where / f"{NAME}.tar.gz").write_bytes(data)
    (where / "demo-mode.yaml").write_text(manifest(uri, data))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build what krew installs.")
    parser.add_argument("where", type=Path, help="the directory to write to")
    parser.add_argument("--uri", required=True, help="where the archive will be")
    options = parser.parse_args()
    build(options.where, options.uri)
