"""Programs are built once, and only those that are wanted."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kotatsu_node.build import binaries, peers, prepare, releases
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.build.buildah import Buildah
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


def test_all_that_are_missing_are_built(layout: Layout) -> None:
    made = prepare.programs(layout, Progress())
    assert made.missing() == {}


def test_the_others_are_left_for_later(layout: Layout) -> None:
    made = prepare.programs(layout, Progress(), "kubernetes")
    assert made.missing().keys() == {"pause"}


def test_what_is_there_is_not_built_again(layout: Layout) -> None:
    prepare.programs(layout, Progress(), "kubernetes")
    made = prepare.programs(layout, Progress())
    assert made.missing() == {}


def test_images_are_built_once_there_is_a_base_while_programs_are_compiled(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    based, compiled = threading.Event(), threading.Event()

    def build(self: Binaries, log: Path) -> None:
        assert compiled.wait(10), "nothing was done meanwhile"
        self.kube.mkdir(parents=True)

    def meanwhile() -> None:
        assert based.is_set()
        compiled.set()

    monkeypatch.setattr(Binaries, "_build_kube", build)
    monkeypatch.setattr(prepare, "packages", lambda *_: None)
    monkeypatch.setattr(prepare, "base", lambda *_: based.set())
    monkeypatch.setattr(prepare.base_image, "ensure_pause", lambda *_: None)
    made = prepare.everything(layout, Buildah(layout.buildah), Progress(), meanwhile)
    assert made.missing() == {}


def test_another_release_is_built_beside_the_newest(layout: Layout) -> None:
    newest = prepare.programs(layout, Progress())
    other = replace(layout, kubernetes="1.34")
    assert prepare.locate(other).missing().keys() == {"kubernetes"}
    assert prepare.programs(other, Progress()).kube != newest.kube


def test_the_programs_that_tests_run_are_all_tried_before_a_failure_is_told(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def build(name: str, *_: object) -> None:
        tried.append(name)
        if name == "first":
            raise NodeError("no module proxy")

    found = {name: peers.Peer(name) for name in ("first", "second")}
    found["measured"] = peers.Peer("measured", for_tests=False)
    monkeypatch.setattr(prepare.peers, "PEERS", found)
    monkeypatch.setattr(prepare.peers, "build", build)
    with pytest.raises(NodeError, match="no module proxy"):
        prepare.other_programs(layout, Progress())
    assert tried == ["first", "second"]


def test_a_release_that_there_is_none_of_is_refused_with_those_there_are(layout: Layout) -> None:
    with pytest.raises(NodeError, match=r"no Kubernetes 1\.20") as caught:
        prepare.locate(replace(layout, kubernetes="1.20"))
    assert caught.value.hint == f"set {KUBERNETES} to one of {releases.default().minor}, 1.34"


def test_each_release_is_pinned_by_a_file_of_its_own() -> None:
    newest, oldest = releases.default(), releases.choose("1.34")
    assert releases.choose("") == releases.choose(newest.minor) == newest
    assert (oldest.minor, oldest.modfile.name) == ("1.34", "1.34.mod")
    assert "gitMajor=1 -X k8s.io/component-base/version.gitMinor=34" in binaries.stamps(oldest)


def test_the_release_of_programs_is_read_from_the_name_of_their_directory(layout: Layout) -> None:
    assert binaries.release_of(prepare.locate(replace(layout, kubernetes="1.34")).kube) == "1.34"
    assert binaries.release_of(Path("/cache/bin/kube-cb6ad5e1490cd175")) == ""


def test_of_two_that_make_the_same_the_first_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "programs"
    with binaries.publish(target) as first, binaries.publish(target) as second:
        (first.path / "helm").write_text("the outer, which ends last")
        (second.path / "helm").write_text("the inner, which ends first")
    assert (target / "helm").read_text() == "the inner, which ends first"
    assert list(tmp_path.iterdir()) == [target]


def test_what_fails_halfway_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NodeError), binaries.publish(tmp_path / "programs"):
        raise NodeError("no")
    assert list(tmp_path.iterdir()) == []


GIB = 2**30


@pytest.mark.parametrize(
    ("free", "limit"), [(24 * GIB, "8192MiB"), (8 * GIB, "3072MiB"), (4 * GIB, "2048MiB")]
)
def test_the_compiler_takes_the_memory_that_is_there(
    monkeypatch: pytest.MonkeyPatch, free: int, limit: str
) -> None:
    monkeypatch.setattr(binaries.os, "cpu_count", lambda: 2)
    assert binaries.memory(free) == {"GOGC": "off", "GOMEMLIMIT": limit}


def test_free_memory_is_read_from_the_kernel(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  16384 kB\nMemAvailable:    8192 kB\n")
    assert binaries.available(file) == 8192 * 1024
    assert binaries.available(tmp_path / "absent") == 2 * GIB
