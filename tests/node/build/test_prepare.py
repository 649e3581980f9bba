"""Programs are built once, and only those that are wanted."""

from dataclasses import replace
from pathlib import Path

import pytest

from kotatsu_node.build import binaries, prepare, releases
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import KUBERNETES, Layout
from kotatsu_node.progress import Progress


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Layout:
    """A machine with nothing built on it, and a compiler that only makes directories."""
    monkeypatch.setattr(prepare.preflight, "go_version", lambda: "go1.26")
    monkeypatch.setattr(prepare.published, "of", lambda _: None)
    for part in ("kube", "pause"):

        def build(self: Binaries, log: Path, part: str = part) -> None:
            getattr(self, part).mkdir(parents=True)

        monkeypatch.setattr(Binaries, f"_build_{part}", build)
    # Nothing is written there; the name has to be short, whatever tmp_path is.
    return Layout.from_environment({"KOTATSU_CACHE": str(tmp_path)}, "/nowhere")


def test_what_is_there_is_not_built_again(layout: Layout) -> None:
    prepare.programs(layout, Progress(), "kubernetes")
    made = prepare.programs(layout, Progress())
    assert made.missing() == {}


def test_a_release_that_there_is_none_of_is_refused_with_those_there_are(layout: Layout) -> None:
    with pytest.raises(NodeError, match=r"no Kubernetes 1\.20") as caught:
        prepare.locate(replace(layout, kubernetes="1.20"))
    assert caught.value.hint == f"set {KUBERNETES} to one of {releases.default().minor}, 1.34"


def test_of_two_that_make_the_same_the_first_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "programs"
    with binaries.publish(target) as first, binaries.publish(target) as second:
        (first.path / "helm").write_text("the outer, which ends last")
        (second.path / "helm").write_text("the inner, which ends first")
    assert (target / "helm").read_text() == "the inner, which ends first"
    assert list(tmp_path.iterdir()) == [target]
