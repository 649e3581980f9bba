"""Which install serves a namespace, and by which activators."""

from plugin.setups import Object, Objects, around, operator, policy, shared
from plugin.test_check import check
from rows import each

from kotatsu_demo_mode.checks.found import Objects as Read
from kotatsu_demo_mode.installs import activators_of, serves, serving
from kotatsu_demo_mode.operators import Standing, watch_by_deployment
from kotatsu_operator.core.protocol import ACTIVATOR_SELECTOR

SHOP = '{"matchLabels": {"team": "shop"}}'


def install(selector: str = "{}", at: str = "10:00") -> Object:
    made = shared(selector)[0]
    made["metadata"]["creationTimestamp"] = f"2030-01-01T{at}:00Z"
    return made


def alone(namespaces: str = "demo,mail") -> Object:
    made = operator(namespaces)
    made["metadata"]["namespace"] = "single"
    return made


@each(
    "selector, namespace, labels, served",
    [
        ("{}", "demo", {}, True),
        ("{}", "demo", None, True),
        ("{}", "kube-system", {}, False),
        (SHOP, "demo", {"team": "shop"}, True),
        (SHOP, "demo", {"team": "mail"}, False),
        (SHOP, "demo", None, None),
        ("nonsense", "demo", {}, None),
    ],
)
def test_an_install_for_the_cluster_serves_what_its_selector_selects(
    selector: str, namespace: str, labels: dict[str, str] | None, served: bool | None
) -> None:
    assert serves(install(selector), namespace, labels) is served


def test_an_install_of_a_namespace_alone_is_before_the_oldest_of_many() -> None:
    old, new, own = install(at="09:00"), install(at="11:00"), alone()
    assert serving([new, old, own], "demo", {}) == [own, old, new]
    assert serving([new, old, own], "other", {}) == [old, new]


def test_shared_activators_are_in_the_installs_own_namespace() -> None:
    place, query = activators_of(install(), "demo")
    assert (place, query) == ("kotatsu", f"{ACTIVATOR_SELECTOR},kotatsu.dev/shard=0")
    assert activators_of(alone(), "demo") == ("demo", ACTIVATOR_SELECTOR)


def test_a_namespace_that_is_not_selected_is_told_how_it_would_be() -> None:
    found = watch_by_deployment(Read([install(SHOP)]), "demo", {"team": "mail"})
    assert found.standing is Standing.ABSENT
    assert SHOP in found.message
    assert "give the namespace these labels, or change the chart value" in found.message


def test_without_its_labels_it_is_unknown_whether_it_is_selected() -> None:
    found = watch_by_deployment(Read([install(SHOP)]), "demo", None)
    assert found.standing is Standing.UNKNOWN


def said(objects: Objects, **how: object) -> dict[str, str]:
    return {f["check"]: f["level"] for f in check(objects, **how)["findings"]}  # type: ignore[arg-type]


def test_check_finds_the_activators_that_serve_the_namespace_elsewhere() -> None:
    found = said(around(*shared()))
    assert (found["operator"], found["activator"], found["isolation"]) == ("ok", "ok", "ok")


def test_check_says_when_it_may_not_read_what_isolates_the_pool() -> None:
    found = said(around(*shared(), policy()), denied=("networkpolicies",))
    assert found["isolation"] == "unknown"


def test_activators_of_the_namespace_need_no_check_of_policies() -> None:
    assert "isolation" not in said(around(alone()))
