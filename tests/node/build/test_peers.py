from __future__ import annotations

from pathlib import Path

import pytest

from kotatsu_node.build import peers
from kotatsu_node.layout import Layout


def test_it_is_built_once_and_again_for_another_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def compile_it(source: Path, output: Path, *_: object) -> None:
        built.append(source.name)
        output.touch()

    monkeypatch.setattr(peers, "go_build", compile_it)
    monkeypatch.setattr(peers, "go_version", lambda: "go1.26.1")
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    first = peers.build("prometheus", layout, tmp_path / "log")
    assert first.is_file()
    assert peers.build("prometheus", layout, tmp_path / "log") == first
    assert built == ["prometheus"]
    monkeypatch.setattr(peers, "go_version", lambda: "go1.27.0")
    assert peers.build("prometheus", layout, tmp_path / "log") != first
