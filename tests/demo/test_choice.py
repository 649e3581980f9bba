"""Which cluster the demo takes, and what it says when there is none."""

from dataclasses import replace

import pytest

from kotatsu_demo.choice import Facts, Where, choose
from kotatsu_demo.errors import MissingError

EVERYTHING = frozenset({"docker", "kind", "kubectl", "helm", "go", "apt-get"})
LAPTOP = Facts(programs=EVERYTHING - {"go", "apt-get"}, docker_runs=True, system="darwin")
SANDBOX = Facts(programs=frozenset({"go", "apt-get"}), system="linux", is_root=True)


def refusal(facts: Facts) -> str:
    with pytest.raises(MissingError) as caught:
        choose(facts)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value.report()


def test_a_named_context_beats_everything_else():
    choice = choose(replace(LAPTOP, context="kind-mine"))
    assert (choice.where, choice.context, choice.kind_cluster) == (Where.GIVEN, "kind-mine", "mine")


def test_kind_is_taken_when_docker_runs_and_kind_is_installed():
    choice = choose(LAPTOP)
    assert choice.where is Where.KIND
    assert (choice.context, choice.kind_cluster) == ("kind-kotatsu-demo", "kotatsu-demo")


@pytest.mark.parametrize("facts", [
    replace(SANDBOX, programs=SANDBOX.programs | {"docker", "kind"}, docker_runs=False),
    replace(SANDBOX, programs=SANDBOX.programs | {"docker"}, docker_runs=True),
    SANDBOX,
])  # fmt: skip
def test_without_docker_or_kind_the_throwaway_node_is_taken(facts: Facts):
    choice = choose(facts)
    assert (choice.where, choice.context) == (Where.NODE, "kotatsu-node")


def test_the_reason_for_the_node_says_what_kind_would_have_needed():
    assert "Docker is not installed" in choose(SANDBOX).why
    stopped = replace(SANDBOX, programs=SANDBOX.programs | {"docker", "kind"})
    assert "Docker does not run" in choose(stopped).why


def test_the_node_can_be_asked_for_by_its_context_even_where_kind_is():
    facts = replace(SANDBOX, programs=EVERYTHING, docker_runs=True, context="kotatsu-node")
    assert choose(facts).where is Where.NODE


def test_kind_without_helm_says_to_install_helm():
    assert "needs helm" in refusal(replace(LAPTOP, programs=LAPTOP.programs - {"helm"}))


@pytest.mark.parametrize(("change", "said"), [
    ({"system": "darwin"}, "needs Linux (this is darwin)"),
    ({"is_root": False}, "needs root"),
    ({"programs": frozenset({"apt-get"})}, "needs Go"),
    ({"programs": frozenset({"go"})}, "needs Debian's apt-get"),
])  # fmt: skip
def test_where_nothing_is_possible_it_says_what_is_missing(change: dict, said: str):
    text = refusal(replace(SANDBOX, **change))
    assert said in text
    assert "CONTEXT" in text


def test_a_cluster_elsewhere_needs_to_know_where_images_come_from():
    text = refusal(replace(LAPTOP, context="prod"))
    assert "IMAGE_PREFIX" in text
    assert "push" in text


def test_a_cluster_elsewhere_with_pushed_images_needs_no_docker():
    facts = Facts(
        context="prod", image_prefix="registry.example/me", programs=frozenset({"kubectl", "helm"})
    )
    choice = choose(facts)
    assert (choice.where, choice.context, choice.kind_cluster) == (Where.GIVEN, "prod", "")


def test_a_kind_context_without_docker_says_to_start_docker():
    facts = replace(LAPTOP, context="kind-mine", docker_runs=False)
    assert "Docker does not run" in refusal(facts)
