from __future__ import annotations

from pathlib import Path

import pytest

from kotatsu_node.build import peers
from kotatsu_node.layout import Layout


def compile_nothing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Build empty files in place of programs; the modules that were built from."""
    built: list[str] = []

    def compile_it(source: Path, output: Path, *_: object) -> None:
        built.append(source.name)
        output.touch()

    monkeypatch.setattr(peers, "go_build", compile_it)
    monkeypatch.setattr(peers, "go_version", lambda: "go1.26.1")
    return built


def test_it_is_built_once_and_again_for_another_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = compile_nothing(monkeypatch)
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    first = peers.build("prometheus", layout, tmp_path / "log")
    assert first.is_file()
    assert peers.build("prometheus", layout, tmp_path / "log") == first
    assert built == ["prometheus"]
    monkeypatch.setattr(peers, "go_version", lambda: "go1.27.0")
    assert peers.build("prometheus", layout, tmp_path / "log") != first


def test_what_belongs_to_it_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_nothing(monkeypatch)
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    operator = peers.build("prometheus-operator", layout, tmp_path / "log")
    found = {program.name for program in operator.parent.iterdir()}
    assert found == {"prometheus-operator", "prometheus-config-reloader"}
