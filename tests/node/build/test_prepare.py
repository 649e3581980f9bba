"""Programs are built once, and only those that are wanted."""

from pathlib import Path

import pytest

from kotatsu_node.build import prepare
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.layout import Layout
from kotatsu_node.progress import Progress


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Layout:
    """A machine with nothing built on it, and a compiler that only makes directories."""
    monkeypatch.setattr(prepare.preflight, "go_version", lambda: "go1.26")
    for part in ("kube", "pause", "helm"):

        def build(self: Binaries, log: Path, part: str = part) -> None:
            getattr(self, part).mkdir(parents=True)

        monkeypatch.setattr(Binaries, f"_build_{part}", build)
    # Nothing is written there; the name has to be short, whatever tmp_path is.
    return Layout.from_environment({"KOTATSU_CACHE": str(tmp_path)}, "/nowhere")


def test_all_that_are_missing_are_built(layout: Layout) -> None:
    made = prepare.programs(layout, Progress())
    assert made.missing() == {}


def test_the_others_are_left_for_later(layout: Layout) -> None:
    made = prepare.programs(layout, Progress(), "kubernetes")
    assert made.missing().keys() == {"pause", "helm"}


def test_what_is_there_is_not_built_again(layout: Layout) -> None:
    prepare.programs(layout, Progress(), "helm")
    made = prepare.programs(layout, Progress())
    assert made.missing() == {}
