"""Programs of other projects that tests and measurements run, from their published Go modules."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.build.binaries import STRIP, go_build, key, publish
from kotatsu_node.build.preflight import go_version
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout, sources


@dataclass(frozen=True)
class Peer:
    """What is built from the module in `peers/<name>`."""

    package: str
    tags: str = ""
    stamps: str = ""
    """Linker flags that give the program its version, where it needs one."""
    beside: tuple[str, ...] = ()
    """Packages of further programs, built beside it under their own names."""

    for_tests: bool = True
    """False for one that only a measurement runs: it is not built before somebody asks for it."""

    patched: tuple[tuple[str, str], ...] = ()
    """Modules of which some files are replaced: each module's path, and the directory of
    `peers/<name>` with our files. go.mod replaces the module by that directory."""


PEERS = {
    "actionlint": Peer("github.com/rhysd/actionlint/cmd/actionlint"),
    "kube-network-policies": Peer("sigs.k8s.io/kube-network-policies/cmd"),
    "prometheus": Peer(
        "github.com/prometheus/prometheus/cmd/prometheus",
        # Debian's cannot discover anything in Kubernetes. Every other kind of discovery brings the
        # libraries of a cloud: most of the time a build takes.
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
    "prometheus-operator": Peer(
        "github.com/prometheus-operator/prometheus-operator/cmd/operator",
        beside=(
            "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader",
        ),
    ),
    "registry": Peer("."),
    "kwok": Peer("sigs.k8s.io/kwok/cmd/kwok"),
    "traefik": Peer(
        "github.com/traefik/traefik/v3/cmd/traefik",
        patched=(("github.com/go-acme/lego/v5", "lego"),),
    ),
    "keda": Peer(
        "github.com/kedacore/keda/v2/cmd/operator",
        beside=("github.com/kedacore/keda/v2/cmd/adapter",),
        for_tests=False,
    ),
    "keda-http-add-on": Peer(
        "github.com/kedacore/http-add-on/interceptor",
        beside=(
            "github.com/kedacore/http-add-on/operator",
            "github.com/kedacore/http-add-on/scaler",
        ),
        for_tests=False,
    ),
}


@contextlib.contextmanager
def _lock(name: str, layout: Layout) -> Iterator[None]:
    """Let one process build a program; others wait for the result."""
    layout.binaries.mkdir(parents=True, exist_ok=True)
    with (layout.binaries / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(name: str, layout: Layout, log: Path) -> Path:
    """Path of a peer's program; the first call builds it (some minutes). Raises NodeError."""
    peer, source = PEERS[name], sources() / "peers" / name
    files = sorted(file for file in source.rglob("*") if file.is_file())
    made = layout.binaries / f"{name}-{key(files, go_version(), peer.tags, peer.stamps)}"
    with _lock(name, layout):
        if made.is_dir():
            return made / name
        with publish(made) as work, tempfile.TemporaryDirectory() as scratch:
            flags = ("-ldflags", f"{STRIP} {peer.stamps}".strip(), "-tags", peer.tags)
            folder = _patched(name, Path(scratch)) if peer.patched else source
            programs = {name: peer.package} | {p.rpartition("/")[2]: p for p in peer.beside}
            for program, package in programs.items():
                go_build(folder, work.path / program, log, *flags, package)
    return made / name


def _patched(name: str, scratch: Path) -> Path:
    """Lay out a peer's module with copies of the modules that it changes, our files over theirs."""
    for module, directory in PEERS[name].patched:
        theirs = module_sources(name, module)
        shutil.copytree(theirs, scratch / directory, copy_function=shutil.copyfile)
    shutil.copytree(sources() / "peers" / name, scratch, dirs_exist_ok=True)
    return scratch


def module_sources(name: str, path: str) -> Path:
    """Directory of a module that a peer is built from, in the version of the peer's go.mod.

    Downloads it where it is not there yet. Raises NodeError.
    """
    wanted = re.escape(path)
    found = re.search(rf"^(?:require)?\s*{wanted} (v\S+)", _modfile(name), re.MULTILINE)
    if found is None:
        raise NodeError(f"the go.mod of {name} does not require {path}")
    # Outside of the peer's module, which may lack the directories that `patched` makes.
    download = ["go", "-C", "/", "mod", "download", "-json", f"{path}@{found[1]}"]
    return Path(json.loads(shell.call(download, timeout=600).stdout)["Dir"])


def _modfile(name: str) -> str:
    return (sources() / "peers" / name / "go.mod").read_text()


def python_packages(name: str, layout: Layout, log: Path) -> Path:
    """Directory of the Python packages that a peer needs besides its program: a locked list.

    Raises NodeError.
    """
    locked = sources() / "peers" / name / "requirements.txt"
    made = layout.binaries / f"{name}-packages-{key([locked])}"
    if not made.is_dir():
        with publish(made) as work:
            install = [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:"]
            target = ["--require-hashes", f"--requirement={locked}", f"--target={work.path}"]
            shell.call_logged([*install, *target], log, hint="check that pip reaches its index")
    return made
