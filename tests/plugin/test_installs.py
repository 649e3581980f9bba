"""Which install serves a namespace, and by which activators."""

from plugin.setups import Objects, activator, around, elsewhere, operator, policy, shared, warm_pool
from plugin.test_check import check
from rows import each

from kotatsu_demo_mode.installs import Standing, pods_of, scope_of, serves, watch_by_deployment
from kotatsu_demo_mode.objects import Objects as Read
from kotatsu_operator.core.protocol import ACTIVATOR_SELECTOR, INSTALL_LABEL

SHOP = '{"matchLabels": {"team": "shop"}}'
OURS, THEIRS = {INSTALL_LABEL: "kotatsu"}, {INSTALL_LABEL: "theirs"}


def install(selector: str = "{}", home: str = "kotatsu", **how: bool) -> dict[str, object]:
    (made,) = elsewhere(operator(selector, **how), namespace=home)  # type: ignore[arg-type]
    return made


@each(
    "selector, unlabeled, namespace, labels, served",
    [
        ("{}", True, "demo", {}, True),
        ("{}", True, "demo", THEIRS, False),
        ("{}", True, "kube-system", {}, False),
        ("{}", True, "kube-system", OURS, False),
        (SHOP, True, "demo", {"team": "shop"}, True),
        (SHOP, True, "demo", {"team": "mail"}, False),
        (SHOP, True, "demo", OURS, True),
        ("{}", False, "demo", {}, False),
        ("{}", False, "demo", OURS, True),
        ("nonsense", True, "demo", {}, False),
        # Labels that may not be read:
        ("{}", True, "demo", None, True),
        (SHOP, True, "demo", None, None),
        ("{}", False, "demo", None, None),
        ("{}", False, "kube-system", None, False),
    ],
)
def test_an_install_serves_what_names_it_and_what_names_none_if_its_selector_selects_it(
    selector: str,
    unlabeled: bool,
    namespace: str,
    labels: dict[str, str] | None,
    served: bool | None,
) -> None:
    scope = scope_of(install(selector, unlabeled=unlabeled))
    assert serves(scope, namespace, labels) is served


@each(
    "labels, activators, home, is_proven",
    [
        ({}, "", "a", False),
        ({INSTALL_LABEL: "b"}, "", "b", False),
        ({}, "a/0", "a", True),
        ({}, "c/own/demo", "c", True),
        ({INSTALL_LABEL: "b"}, "a/0", "b", False),  # a is about to give the pools to b
        (None, "", "a", False),
        (None, "b/3", "b", True),
    ],
)
def test_the_operator_of_a_namespace_is_one_that_may_serve_it_and_that_its_pools_name(
    labels: dict[str, str] | None, activators: str, home: str, is_proven: bool
) -> None:
    """Two serve namespaces without a label: one of them is no operator."""
    three = [install(home="a"), install(home="b", unlabeled=False), install(home="c")]
    found = watch_by_deployment(Read(three), "demo", labels, activators)
    assert (found.operator["metadata"]["namespace"], found.is_proven) == (home, is_proven)


@each(
    "own, place, labels",
    [
        ("", "kotatsu", "kotatsu.dev/shard=0"),
        ("mail,demo", "demo", "kotatsu.dev/home=kotatsu"),
    ],
)
def test_the_activators_of_a_namespace_are_its_own_or_those_of_its_shard(
    own: str, place: str, labels: str
) -> None:
    scope = scope_of(elsewhere(operator(own=own))[0])
    assert pods_of(scope.set_of("demo")) == (place, f"{ACTIVATOR_SELECTOR},{labels}")


@each(
    "namespace, labels, installs, said",
    [
        (
            "demo",
            {"team": "mail"},
            [install(SHOP)],
            (
                f"(the namespaceSelector of the Kotatsu of namespace kotatsu, {SHOP}, does not "
                "select it): label it `kotatsu.dev/install: kotatsu`, or change the chart value "
                "`namespaceSelector`"
            ),
        ),
        (
            "demo",
            {},
            [install(unlabeled=False), install(home="second", unlabeled=False)],
            (
                "(installs serve only namespaces that are labeled for them): label it "
                "`kotatsu.dev/install: kotatsu` or `kotatsu.dev/install: second`"
            ),
        ),
        (
            "demo",
            THEIRS,
            [install(), install(home="second")],
            (
                "(its label `kotatsu.dev/install: theirs` names a namespace without an operator): "
                "change it to kotatsu or second, or install the chart kotatsu in theirs"
            ),
        ),
        ("kube-public", {}, [install()], "of Kubernetes itself): move the workload to another"),
    ],
)
def test_a_namespace_that_is_not_served_is_told_why_and_how_it_would_be(
    namespace: str, labels: dict[str, str], installs: Objects, said: str
) -> None:
    found = watch_by_deployment(Read(installs), namespace, labels)
    assert found.standing is Standing.ABSENT
    assert f"namespace {namespace} is not served by Kotatsu" in found.message
    assert said in found.message


def said(objects: Objects, **how: object) -> dict[str, str]:
    return {f["check"]: f["level"] for f in check(objects, **how)["findings"]}  # type: ignore[arg-type]


def test_check_finds_the_activators_that_serve_the_namespace_elsewhere() -> None:
    found = said(around(*shared()))
    assert (found["operator"], found["activator"], found["isolation"]) == ("ok", "ok", "ok")


def test_check_says_when_it_may_not_read_what_isolates_the_pool() -> None:
    found = said(around(*shared(), policy()), denied=("networkpolicies",))
    assert found["isolation"] == "unknown"


def test_activators_of_the_namespace_alone_need_no_check_of_policies() -> None:
    own = activator(1, home="kotatsu"), activator(2, home="kotatsu")
    found = said(around(*elsewhere(operator(own="demo")), *own, policy()))
    assert (found["activator"], "isolation" in found) == ("ok", False)


def test_without_its_operator_the_pools_say_by_which_activators_a_namespace_is_served() -> None:
    pool = warm_pool() | {"status": {"internal": {"activators": "kotatsu/0"}}}
    found = said(around(pool, *elsewhere(activator(1), activator(2))), denied=("deployments",))
    assert (found["operator"], found["activator"]) == ("unknown", "ok")
    assert said(around(), denied=("deployments",))["activator"] == "unknown"
