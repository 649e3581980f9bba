from __future__ import annotations

from pathlib import Path

import pytest

from kotatsu_node.build import prometheus
from kotatsu_node.layout import Layout


def test_it_is_built_once_and_again_for_another_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(source: Path, output: Path, *_: object) -> None:
        built.append(source.name)
        output.touch()

    monkeypatch.setattr(prometheus, "go_build", build)
    monkeypatch.setattr(prometheus, "go_version", lambda: "go1.26.1")
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    first = prometheus.prometheus(layout, tmp_path / "log")
    assert first.is_file()
    assert prometheus.prometheus(layout, tmp_path / "log") == first
    assert built == ["prometheus"]
    monkeypatch.setattr(prometheus, "go_version", lambda: "go1.27.0")
    assert prometheus.prometheus(layout, tmp_path / "log") != first
