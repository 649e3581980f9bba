"""Which namespaces an install serves, and by which activators."""

import pytest
from rows import each

from kotatsu_operator.core.protocol import (
    HOME_LABEL,
    INSTALL_LABEL,
    SHARD_LABEL,
    own_set,
    set_of_pod,
    shared_set,
)
from kotatsu_operator.core.scope import Scope, namespace_of, read_selector

SHOP = {"matchLabels": {"team": "shop"}}
MINE, OTHER = {INSTALL_LABEL: "kotatsu"}, {INSTALL_LABEL: "other"}


@each(
    "scope, namespace, labels, is_served",
    {
        "all without a label": (Scope("kotatsu"), "shop", {}, True),
        "its own": (Scope("kotatsu"), "shop", MINE, True),
        "another one's": (Scope("kotatsu"), "shop", OTHER, False),
        "an empty label is nobody's": (Scope("kotatsu"), "shop", {INSTALL_LABEL: ""}, False),
        "selected": (Scope("kotatsu", SHOP), "a", {"team": "shop"}, True),
        "not selected": (Scope("kotatsu", SHOP), "a", {}, False),
        "its own, not selected": (Scope("kotatsu", SHOP), "a", MINE, True),
        "selected, another one's": (Scope("kotatsu", SHOP), "a", OTHER | {"team": "shop"}, False),
        "a second install": (Scope("kotatsu", unlabeled=False), "shop", {}, False),
        "what that one has": (Scope("kotatsu", unlabeled=False), "shop", MINE, True),
        "of Kubernetes": (Scope("kotatsu"), "kube-system", MINE, False),
    },
)
def test_a_label_names_the_install_and_the_others_are_those_of_the_selector(
    scope, namespace, labels, is_served
):
    assert scope.serves(namespace, labels) is is_served


def test_a_namespace_has_the_activators_of_a_shard_unless_it_has_its_own():
    scope = Scope("kotatsu", shards=4, own=frozenset(["shop"]))
    assert scope.set_of("shop") == own_set("kotatsu", "shop")
    assert {scope.set_of(f"n{n}") for n in range(99)} == {f"kotatsu/{n}" for n in range(4)}


@each(
    "activators, is_mine",
    [("kotatsu/0", True), ("kotatsu/own/shop", True), ("kotatsu-2/0", False), ("", False)],
)
def test_a_set_is_of_the_install_in_whose_namespace_its_release_is(activators, is_mine):
    assert Scope("kotatsu").has(activators) is is_mine


@each(
    "labels, of_set",
    [
        ({SHARD_LABEL: "3"}, shared_set("shop", 3)),
        ({HOME_LABEL: "kotatsu"}, own_set("kotatsu", "shop")),
        ({}, ""),
    ],
)
def test_no_label_makes_a_pod_one_of_another_namespaces_set(labels, of_set):
    assert set_of_pod("shop", labels) == of_set


@each(
    "given",
    ["", "[]", '"all"', '{"team": "shop"}', '{"matchLabels": 1}', "[" * 100_000],
)
def test_a_selector_that_is_none_is_refused_in_a_sentence(given):
    with pytest.raises(ValueError, match=r"^it(s terms| is not)|^write it like"):
        read_selector(given)


def test_a_namespace_that_is_being_deleted_is_ending():
    meta = {"name": "shop", "deletionTimestamp": "2026-11-25T10:00:00Z"}
    assert namespace_of({"metadata": meta}).is_ending
