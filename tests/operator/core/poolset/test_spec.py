"""What a WarmPoolSet says: read, or refused with a sentence that says what to change."""

from datetime import timedelta

import pytest

from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.poolset.spec import is_of, read_set
from kotatsu_operator.core.scope import Namespace, Scope


def manifest(**spec):
    given = {"namespaceSelector": {"matchLabels": {"env": "preview"}}, "template": {"spec": {}}}
    meta = {"name": "previews", "uid": "u", "creationTimestamp": "2030-01-01T00:00:00Z"}
    return {"metadata": meta, "spec": given | spec}


def test_a_set_has_the_namespaces_that_its_selector_selects_and_that_do_not_opt_out():
    by = read_set(manifest())
    preview = {"env": "preview"}
    assert by.has("shop", Namespace(preview, is_ending=False, shares=False))
    assert not by.has("shop", Namespace({"env": "prod"}, is_ending=False, shares=False))
    out = Namespace(preview, is_ending=False, shares=False, opts_out=True)
    assert not by.has("shop", out)
    assert read_set(manifest(optOut="Ignored")).has("shop", out)


def test_names_and_selectors_of_depends_on_are_told_apart():
    db = {"matchLabels": {"tier": "db"}}
    by = read_set(manifest(template={"spec": {"idleAfter": "1m", "dependsOn": ["cache", db]}}))
    assert (by.names, by.order, by.template) == (("cache",), (db,), {"idleAfter": "1m"})


def test_each_pool_has_the_limit_of_the_budget_of_its_set():
    by = read_set(manifest(budget={"limit": "50", "period": "Week"}))
    assert by.budget is not None
    assert by.template["budget"] == {"limit": "50", "period": "Week"}


@pytest.mark.parametrize(
    ("given", "time"), [("14d", timedelta(days=14)), ("36h", timedelta(hours=36))]
)
def test_unused_after_has_days_too(given, time):
    assert read_set(manifest(unusedAfter=given)).unused_after == time


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"template": {"spec": {"targetRef": {"name": "web"}}}}, "targetRef"),
        ({"template": {"spec": {}, "kind": "WarmPool"}}, "kind"),
        ({"template": {"spec": {}, "metadata": {"name": "web"}}}, "metadata has no field name"),
        ({"template": {"spec": {}, "metadata": {"labels": {"a": 1}}}}, "quote it"),
        ({"template": {"spec": {"dependsOn": {"tier": "db"}}}}, "no list"),
        (
            {"template": {"spec": {"dependsOn": [{"matchLabels": {"tier": 1}}]}}},
            "no label selector",
        ),
        ({"namespaceSelector": None}, "spec.namespaceSelector"),
        ({"selector": "web"}, "spec.selector"),
        (
            {"budget": {"limit": "1"}, "template": {"spec": {"budget": {}}}},
            "spec.template.spec.budget",
        ),
        ({"budget": {"limit": "much"}}, "spec.budget.limit"),
        ({"budget": {"limit": "1", "period": "Year"}}, "spec.budget.period"),
        ({"unusedAfter": "soon"}, "spec.unusedAfter"),
        ({"unusedAfter": "99999999999d"}, "spec.unusedAfter"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(spec, said):
    with pytest.raises(SpecError, match=said):
        read_set(manifest(**spec))


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({}, True),
        ({"kotatsu.dev/install": "here"}, True),
        ({"kotatsu.dev/install": "there"}, False),
    ],
)
def test_one_install_acts_on_a_set(labels, ours):
    assert is_of(Scope("here"), {"metadata": {"labels": labels}}) is ours
    assert is_of(Scope("here", unlabeled=False), {"metadata": {}}) is False
