"""The clusters made of Docker and kind: which commands they run. Nothing is really made here."""

from pathlib import Path

import pytest

from kotatsu_demo import clusters
from kotatsu_demo.choice import Choice, Where
from kotatsu_demo.clusters import GivenCluster, cluster_of
from kotatsu_demo.errors import DemoError
from kotatsu_demo.images import IMAGES

VOICE = next(image for image in IMAGES if image.name == "voice")
OURS = Choice(Where.KIND, "", "kind-kotatsu-demo", "kotatsu-demo")
THEIRS = Choice(Where.GIVEN, "", "kind-mine", "mine")


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(clusters, "ROOT", tmp_path)
    monkeypatch.setattr(clusters, "WORK", tmp_path / "demo")
    return tmp_path / "demo"


def test_a_kind_cluster_of_ours_is_made_with_a_kubeconfig_of_its_own(programs, progress, work):
    programs.add("kind", get_clusters="other")
    cluster = cluster_of(OURS, "demo", "", progress)
    cluster.start()
    made = programs.calls[programs.index("kind create cluster", "--name kotatsu-demo")]
    assert f"--kubeconfig {work}/kubeconfig" in made
    assert cluster.kube.environment == {"KUBECONFIG": f"{work}/kubeconfig"}
    assert cluster.is_ours


def test_an_image_is_built_once_and_loaded_again_where_the_cluster_has_lost_it(
    programs, progress, monkeypatch
):
    programs.add("kind", get_clusters="mine", get_nodes="mine-control-plane")
    known = {"buildx": "", "image_inspect": "sha256:abc", "exec": "sha256:def"}
    programs.add("docker", **known, version="1.52 linux/arm64")
    monkeypatch.setattr(clusters, "made_from", lambda *_: "unchanged")
    cluster = cluster_of(THEIRS, "demo", "", progress)

    def done() -> list[str]:
        """What is done to provide the image, of what takes long."""
        before = len(programs.calls)
        cluster.provide(VOICE)
        words = [" ".join(call.split()[:2]) for call in programs.calls[before:]]
        return [word for word in words if word in ("docker build", "kind load")]

    assert done() == ["docker build", "kind load"]
    assert done() == []
    programs.add("kind", get_clusters="mine", get_nodes="another-control-plane")
    assert done() == ["kind load"]


def test_a_kind_cluster_of_the_users_is_neither_made_nor_deleted(programs, progress):
    programs.add("kind", get_clusters="mine")
    cluster = cluster_of(THEIRS, "demo", "", progress)
    cluster.start()
    cluster.remove()
    assert programs.calls == ["kind get clusters"]
    assert not cluster.is_ours


def test_a_kind_cluster_of_the_users_that_is_gone_is_not_made(programs, progress):
    programs.add("kind", get_clusters="other")
    with pytest.raises(DemoError) as caught:
        cluster_of(THEIRS, "demo", "", progress).start()
    assert "kind create cluster --name mine" in caught.value.hint


def test_the_users_kubeconfig_does_not_change_when_a_context_of_it_is_used(
    programs, progress, work
):
    programs.add("kubectl", config_view="one context")
    environment = cluster_of(THEIRS, "demo", "", progress).environment()
    file = work / "given.kubeconfig"
    assert environment == {"KUBECONFIG": str(file)}
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("one context\n", 0o600)
    programs.index("--context=kind-mine", "config view --raw --minify --flatten")


def test_a_cluster_elsewhere_is_given_the_names_of_pushed_images(programs, progress):
    choice = Choice(Where.GIVEN, "", "prod")
    cluster = cluster_of(choice, "demo", "registry.example/me", progress)
    assert isinstance(cluster, GivenCluster)
    assert cluster.provide(VOICE).reference == "registry.example/me/kotatsu-voice:dev"
    assert (cluster.pull_policy, programs.calls) == ("Always", [])
