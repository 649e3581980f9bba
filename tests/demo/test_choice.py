"""Which cluster the demo takes, and what it says when there is none."""

from dataclasses import replace

import pytest
from rows import each

from kotatsu_demo.choice import (
    Facts,
    Where,
    for_demo,
    for_images,
    is_allowed,
    is_nothing_up,
)
from kotatsu_demo.errors import MissingError

EVERYTHING = frozenset({"docker", "kind", "kubectl", "helm", "go", "apt-get"})
LAPTOP = Facts(programs=EVERYTHING - {"go", "apt-get"}, docker_runs=True, system="darwin")
SANDBOX = Facts(programs=frozenset({"go", "apt-get"}), system="linux", is_root=True)


def refusal(facts: Facts, choose=for_demo) -> str:
    with pytest.raises(MissingError) as caught:
        choose(facts)
    assert caught.value.exit_code == 2
    return caught.value.report()


@each("facts, where, context", [
    (replace(LAPTOP, context="kind-mine"), Where.GIVEN, "kind-mine"),
    (LAPTOP, Where.KIND, "kind-kotatsu-demo"),
    # A node that runs is taken before kind, and without Docker or kind one is made.
    (replace(SANDBOX, programs=EVERYTHING, docker_runs=True), Where.KIND, "kind-kotatsu-demo"),
    (replace(SANDBOX, programs=EVERYTHING, docker_runs=True, node_runs=True),
     Where.NODE, "kotatsu-node"),
    (replace(SANDBOX, programs=EVERYTHING, docker_runs=False), Where.NODE, "kotatsu-node"),
    (replace(SANDBOX, programs=SANDBOX.programs | {"docker"}, docker_runs=True),
     Where.NODE, "kotatsu-node"),
    (SANDBOX, Where.NODE, "kotatsu-node"),
])  # fmt: skip
def test_the_demo_takes_the_named_cluster_a_running_node_kind_or_a_node(
    facts: Facts, where: Where, context: str
):
    choice = for_demo(facts)
    cluster = context.removeprefix("kind-") if context.startswith("kind-") else ""
    assert (choice.where, choice.context, choice.kind_cluster) == (where, context, cluster)


@each("change, lacks, do", [
    ({"system": "darwin"}, "needs Linux (this is darwin)", "install Docker and kind"),
    ({"is_root": False}, "needs root", "run it with sudo, or install Docker"),
    ({"programs": frozenset({"apt-get"})}, "needs Go", "install Go, or"),
    ({"programs": frozenset({"go"})}, "needs Debian's apt-get", "install Docker and kind"),
    ({"programs": frozenset({"docker"}), "is_root": False, "docker_runs": True},
     "kind is not installed and the node without Docker needs Go", ": install kind, or"),
])  # fmt: skip
def test_where_nothing_is_possible_one_sentence_says_what_is_missing_and_what_to_do(
    change: dict, lacks: str, do: str
):
    text = refusal(replace(SANDBOX, **change))
    assert lacks in text
    assert do in text
    assert text.endswith("or name a cluster of yours with CONTEXT=name")
    assert "\n" not in text


@each("change, is_nothing", [
    ({"is_root": False}, True),
    ({"programs": frozenset()}, True),
    ({}, False),  # root may have left a part of a node
    ({"is_root": False, "node_runs": True}, False),
    ({"is_root": False, "context": "kind-mine"}, False),
    ({"is_root": False, "programs": EVERYTHING, "docker_runs": True}, False),
])  # fmt: skip
def test_where_a_machine_can_have_no_cluster_there_is_nothing_to_remove(
    change: dict, is_nothing: bool
):
    assert is_nothing_up(replace(SANDBOX, **change)) is is_nothing


def test_a_cluster_elsewhere_needs_to_know_where_images_come_from():
    text = refusal(replace(LAPTOP, context="prod"))
    assert "IMAGE_PREFIX" in text
    assert "push" in text


FOREIGN = replace(LAPTOP, current_context="kind-kind")


def test_images_go_to_the_kind_cluster_that_kubectl_and_helm_use():
    choice = for_images(FOREIGN)
    assert (choice.where, choice.context, choice.kind_cluster) == (Where.GIVEN, "kind-kind", "kind")
    assert "the current context" in choice.why


def test_a_named_context_beats_the_current_one_for_images():
    assert for_images(replace(FOREIGN, context="kind-mine")).context == "kind-mine"


@each("current", ["", "kind-kotatsu-demo", "kotatsu-node"])
def test_without_a_cluster_of_the_users_images_go_to_the_demos(current: str):
    assert for_images(replace(LAPTOP, current_context=current)) == for_demo(LAPTOP)


def test_images_for_a_cluster_that_pulls_them_are_to_be_pushed():
    text = refusal(replace(LAPTOP, current_context="prod"), for_images)
    assert "your current context, prod" in text
    assert "make push" in text
    assert "CONTEXT=kind-NAME" in text


def test_the_demo_leaves_the_current_context_alone():
    assert for_demo(FOREIGN) == for_demo(LAPTOP)
    assert for_demo(replace(LAPTOP, current_context="prod")) == for_demo(LAPTOP)


@each("context, named, allowed", [
    ("kotatsu-node", "", True), ("kind-kotatsu-demo", "", True), ("kind-kind", "", False),
    ("kind-kind", "kind-kind", True), ("kind-kind", "kind-mine", False), ("", "", False),
])  # fmt: skip
def test_tests_use_a_cluster_of_kotatsus_or_the_named_one(context: str, named: str, allowed: bool):
    assert is_allowed(context, named) is allowed
