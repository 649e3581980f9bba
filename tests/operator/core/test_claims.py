"""Which install serves a namespace."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.claims import Claims, claim_of, claims_of, read_selector
from kotatsu_operator.core.protocol import SELECTOR_ANNOTATION, SHARD_LABEL

MINE = ("kotatsu-system", "kotatsu")
ALL = read_selector("{}")
SHOP = {"matchLabels": {"team": "shop"}}


def activators(
    namespace="kotatsu-system", release="kotatsu", selector=None, *, shard="0", at="10:00", **meta
):
    """The Deployment of shared activators; without a shard, of those of its namespace."""
    labels = {"app.kubernetes.io/instance": release}
    notes = dict(meta.pop("annotations", {}))
    if shard is not None:
        labels[SHARD_LABEL] = shard
        notes[SELECTOR_ANNOTATION] = json.dumps({} if selector is None else selector)
    return {
        "metadata": {
            "name": "kotatsu-activator",
            "namespace": namespace,
            "uid": f"uid-{namespace}-{shard}",
            "creationTimestamp": f"2026-11-25T{at}:00Z",
            "labels": labels,
            "annotations": notes,
            **meta,
        }
    }


def holder(namespace, *deployments, labels=None, selector=ALL):
    claims = claims_of(MINE, selector, map(claim_of, (activators(), *deployments)))
    found = claims.of(namespace, labels or {})
    return None if found is None else found.release


def test_an_install_for_the_whole_cluster_serves_what_its_selector_selects():
    assert holder("shop") == MINE
    assert holder("shop", labels={"team": "shop"}, selector=SHOP) == MINE
    assert holder("feed", labels={"team": "feed"}, selector=SHOP) is None


def test_its_own_namespace_is_one_as_any_other():
    assert holder("kotatsu-system") == MINE
    assert holder("kotatsu-system", selector=SHOP) is None


@each("namespace", ["kube-system", "kube-public", "kube-node-lease"])
def test_the_namespaces_of_kubernetes_are_never_served(namespace):
    assert holder(namespace) is None
    assert holder(namespace, activators("other", "other", at="09:00")) is None


def test_an_install_for_one_namespace_has_it_whatever_its_age():
    own = activators("shop", "warm", shard=None, at="11:00")
    assert holder("shop", own) == ("shop", "warm")
    assert holder("feed", own) == MINE


def test_of_two_installs_for_the_whole_cluster_the_older_one_has_what_both_select():
    older = activators("other", "other", SHOP, at="09:00")
    younger = activators("third", "third", SHOP, at="11:00")
    assert holder("shop", older, younger, labels={"team": "shop"}) == ("other", "other")
    assert holder("feed", older, younger) == MINE
    assert holder("shop", younger, labels={"team": "shop"}) == MINE


def test_of_two_that_were_created_in_the_same_second_the_uid_decides():
    assert holder("shop", activators("a", "a")) == ("a", "a")
    assert holder("shop", activators("z", "z")) == MINE


def test_a_further_shard_makes_an_install_no_younger():
    later = activators(shard="1", at="12:00")
    assert holder("shop", later, activators("other", "other", at="11:00")) == MINE


def test_an_install_whose_own_activators_are_gone_gives_way():
    found = claims_of(MINE, ALL, [claim_of(activators("other", "other", at="11:00"))])
    assert found.of("shop", {}).release == ("other", "other")


def test_activators_that_are_left_from_when_this_release_was_for_one_namespace_claim_nothing():
    helm = {"meta.helm.sh/release-namespace": "kotatsu-system"}
    assert holder("shop", activators("shop", shard=None, annotations=helm)) == MINE
    assert holder("shop", activators("shop", shard=None)) == ("shop", "kotatsu")


def test_an_install_that_is_being_deleted_claims_nothing():
    ending = activators("shop", "warm", shard=None, deletionTimestamp="2026-11-25T10:00:00Z")
    assert holder("shop", ending) == MINE


UNREADABLE = [
    "",
    "{",
    "[]",
    "null",
    "[" * 100_000,
    '{"matchLables": {"team": "shop"}}',
    '{"matchLabels": {"team": 1}}',
    '{"matchLabels": ["team"]}',
    '{"matchExpressions": {"key": "team"}}',
    '{"matchExpressions": ["team"]}',
    '{"matchExpressions": [{"key": "team", "operator": "Is"}]}',
    '{"matchExpressions": [{"key": "team", "operator": ["In"], "values": ["shop"]}]}',
    '{"matchExpressions": [{"key": "team", "operator": "In", "values": [{}]}]}',
]


@each("written", UNREADABLE)
def test_a_selector_that_cannot_be_read_claims_nothing(written):
    older = activators("other", "other", at="09:00", annotations={})
    older["metadata"]["annotations"] = {SELECTOR_ANNOTATION: written}
    assert holder("shop", older) == MINE
    with pytest.raises(ValueError, match=r"JSON|write it like|not those of a label selector"):
        read_selector(written)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
_SELECTORS = st.fixed_dictionaries(
    {}, optional={"matchLabels": JSON, "matchExpressions": JSON | st.lists(JSON)}
)


@given(JSON | _SELECTORS, JSON, JSON)
def test_no_deployment_breaks_the_claims_of_the_others(selector, labels, notes):
    strange = activators("other", "other", at="09:00")
    strange["metadata"]["annotations"][SELECTOR_ANNOTATION] = json.dumps(selector)
    found = [strange, {"metadata": {"labels": labels, "annotations": notes}}, {"metadata": notes}]
    claims = claims_of(MINE, ALL, map(claim_of, [activators(), *found]))
    assert isinstance(claims, Claims)
    claims.of("shop", {"team": "shop"})
