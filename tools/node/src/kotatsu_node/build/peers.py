"""Programs of other projects that tests run beside Kotatsu, from their published Go modules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.build.binaries import STRIP, go_build, key, publish
from kotatsu_node.build.preflight import go_version
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


PEERS = {
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
}


def build(name: str, layout: Layout, log: Path) -> Path:
    """Path of a peer's program; the first call builds it (some minutes). Raises NodeError."""
    peer, source = PEERS[name], sources() / "peers" / name
    files = sorted(source.iterdir())
    made = layout.binaries / f"{name}-{key(files, go_version(), peer.tags, peer.stamps)}"
    if not made.is_dir():
        with publish(made) as work:
            flags = ("-ldflags", f"{STRIP} {peer.stamps}".strip(), "-tags", peer.tags)
            programs = {name: peer.package} | {p.rpartition("/")[2]: p for p in peer.beside}
            for program, package in programs.items():
                go_build(source, work.path / program, log, *flags, package)
    return made / name


def module(name: str) -> Path:
    """The folder of a peer's module as it was published, in Go's own cache. Raises NodeError."""
    where = ("list", "-mod=readonly", "-f", "{{.Module.Dir}}", PEERS[name].package)
    return Path(
        shell.call(["go", "-C", sources() / "peers" / name, *where], timeout=300).stdout.strip()
    )
