"""A Prometheus that finds its targets in Kubernetes, for tests that want one: Debian's cannot."""

from __future__ import annotations

from pathlib import Path

from kotatsu_node.build.binaries import STRIP, go_build, key, publish
from kotatsu_node.build.preflight import go_version
from kotatsu_node.layout import Layout, sources

_PACKAGE = "github.com/prometheus/prometheus/cmd/prometheus"
# Every other kind of discovery brings the libraries of a cloud: most of the time a build takes.
_TAGS = "remove_all_sd,enable_kubernetes_sd"


def prometheus(layout: Layout, log: Path) -> Path:
    """Path of the program; the first call builds it (some minutes). Raises NodeError."""
    source = sources() / "prometheus"
    files = [source / name for name in ("go.mod", "go.sum")]
    made = layout.binaries / f"prometheus-{key(files, go_version(), _TAGS)}"
    if not made.is_dir():
        with publish(made) as work:
            output, flags = work.path / "prometheus", ("-ldflags", STRIP, "-tags", _TAGS)
            go_build(source, output, log, *flags, _PACKAGE)
    return made / "prometheus"
