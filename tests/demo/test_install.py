"""Installing and removing: which commands run, and what is never touched."""

import json

import pytest

from kotatsu_demo.errors import DemoError
from kotatsu_demo.images import ROOT
from kotatsu_demo.install import Installation
from kotatsu_demo.kube import Kube

OURS = {"kotatsu.dev/demo": "true"}


def namespace(**labels: str) -> str:
    return json.dumps({"metadata": {"name": "demo", "labels": labels}})


@pytest.fixture
def installation(programs, progress) -> Installation:
    programs.add("helm")
    return Installation(Kube("mine", {}, "demo"), "IfNotPresent", progress)


def test_the_platform_comes_first_since_the_pet_needs_its_crd(programs, installation):
    programs.add("kubectl", get_namespace=namespace(**OURS))
    installation.install([])
    assert programs.index("helm", "upgrade --install kotatsu") < programs.index(
        "helm", "upgrade --install pet"
    )
    assert all("--kube-context=mine --namespace=demo" in c for c in programs.calls if "helm" in c)


def test_a_key_for_gemini_reaches_the_pet_through_a_secret_alone(programs, progress):
    programs.add("kubectl", get_namespace=namespace(**OURS))
    programs.add("helm")
    Installation(Kube("mine", {}, "demo"), "IfNotPresent", progress, "s3cret").install([])
    assert programs.index("kubectl", "apply") < programs.index("helm", "upgrade --install pet")
    assert not any("s3cret" in call for call in programs.calls)


def test_a_namespace_of_somebody_elses_is_left_alone(programs, installation):
    programs.add("kubectl", get_namespace=namespace(team="blue"))
    for action in (installation.remove, lambda: installation.install([])):
        with pytest.raises(DemoError) as caught:
            action()
        assert "was not made by the demo" in caught.value.what
    assert not any("helm" in call or "delete" in call for call in programs.calls)


def test_a_crd_goes_only_if_the_demo_brought_it_and_nothing_else_uses_it(programs, installation):
    brought = namespace(**OURS, **{"kotatsu.dev/demo-brought-crd": "true"})
    for found, others in ((namespace(**OURS), ""), (brought, "warmpool/other")):
        programs.add("kubectl", get_namespace=found, get_warmpools=others)
        installation.remove()
    assert not any("delete crd" in call for call in programs.calls)
    programs.add("kubectl", get_namespace=brought)
    installation.remove()
    packaged = sorted(crd.stem for crd in (ROOT / "charts/kotatsu/crds").glob("*.yaml"))
    [deleted] = [call for call in programs.calls if "delete crd" in call]
    assert sorted(word for word in deleted.split() if "." in word) == packaged
