"""docs/reference/permissions.md lists every rule that the chart has, with a reason.

The page is made of the templates' text (tests/docs/test_reference.py); here is what Helm renders.
"""

from chart.kit import CHARTS, Object, own, render
from rows import each

from kotatsu_docs.__main__ import ROLES as WITH_ROLES
from kotatsu_docs.__main__ import roles
from kotatsu_docs.permissions import PARTS
from kotatsu_operator.core.protocol import record_part

TEMPLATES = CHARTS / "kotatsu/templates"
NO_RIGHTS = {"policies", "flowschema"}
PAGE = {role.name: role for role in roles()}
ROLES = [
    ("Role", "kotatsu-operator"),
    ("Role", "kotatsu-operator-leader"),
    ("Role", "kotatsu-activator"),
    ("Role", "kotatsu-uninstall"),
    ("Role", "kotatsu-uninstall-leader"),
    ("ClusterRole", "kotatsu-crds-here"),
    ("Role", "kotatsu-knative-here"),
    ("ClusterRole", "kotatsu-warmpools-view-here"),
    ("ClusterRole", "kotatsu-warmpools-edit-here"),
]
OF_A_CLUSTER = [
    ("ClusterRole", "kotatsu-operator-namespaces"),
    ("Role", "kotatsu-operator-record"),
    ("Role", "kotatsu-uninstall-record"),
]
"""What is there in cluster mode alone."""
KNATIVE = "--api-versions=serving.knative.dev/v1/Service"


def on_the_page(name: str) -> list[Object]:
    """The rules of a Role; each has a reason, and the Role a sentence."""
    role = PAGE[name.removesuffix("-here")]
    assert role.about
    assert all(why for _, why in role.rules)
    return [dict(rule) for rule, _ in role.rules]


def rendered(role: Object) -> list[Object]:
    """The rules of a rendered Role, with the parts of the record as the page names them."""
    parts = sorted({record_part(str(n)) for n in range(1000)})
    assert f"{parts[0]} … {parts[-1]}" == PARTS
    return [
        rule | {"resourceNames": [PARTS]} if rule.get("resourceNames") == parts else rule
        for rule in role["rules"]
    ]


def test_every_rule_of_the_templates_is_one_that_the_page_has() -> None:
    for template in TEMPLATES.glob("*.yaml"):
        rules = template.read_text().count("apiGroups:")
        assert not rules or template.stem in {*WITH_ROLES, *NO_RIGHTS}, template.name
    found = sum((TEMPLATES / f"{name}.yaml").read_text().count("apiGroups:") for name in WITH_ROLES)
    assert found == sum(len(role.rules) for role in PAGE.values())


@each("kind, name", ROLES)
def test_the_page_has_each_rule_with_its_reason(kind: str, name: str) -> None:
    [role] = [r for r in own(None, KNATIVE).of(kind) if r["metadata"]["name"] == name]
    assert on_the_page(name) == rendered(role)


CAPACITY = ("--set=capacityAhead.enabled=true", "--set=capacityAhead.image=mirror/pause")


@each(
    "name, options",
    [
        ("kotatsu-operator-parked", ("--set=parked.enabled=true",)),
        ("kotatsu-uninstall-parked", ("--set=parked.enabled=true",)),
        ("kotatsu-operator-capacity", CAPACITY),
    ],
)
def test_the_page_has_the_rules_for_what_is_off_and_the_chart_only_when_it_is_asked(
    name: str, options: tuple[str, ...]
) -> None:
    [role] = [r for r in own(None, *options).of("Role") if r["metadata"]["name"] == name]
    assert on_the_page(name) == rendered(role)
    assert not [r for r in own().of("Role") if r["metadata"]["name"] == name]


@each("kind, name", OF_A_CLUSTER)
def test_the_page_has_the_rules_of_cluster_mode(kind: str, name: str) -> None:
    found = {obj["metadata"]["name"]: obj for obj in render("kotatsu").of(kind)}
    role = found[name if kind == "Role" else f"{name}-here"]
    assert on_the_page(name) == rendered(role)


@each("name", ["operator", "activator", "uninstall"])
def test_in_cluster_mode_the_rules_are_the_same_in_all_namespaces(name: str) -> None:
    def rules(role: Object) -> list[Object]:
        return [rule for rule in role["rules"] if "configmaps" not in rule["resources"]]

    there = render("kotatsu", None, KNATIVE).one("ClusterRole", f"kotatsu-{name}-here")
    assert rules(there) == there["rules"]
    assert there["rules"] == rules(own(None, KNATIVE).one("Role", f"kotatsu-{name}"))


def test_the_chart_has_no_other_roles() -> None:
    found = [
        (r["kind"], r["metadata"]["name"]) for r in own(None, KNATIVE).of("Role", "ClusterRole")
    ]
    assert sorted(found) == sorted(ROLES)
    wide = {
        (r["kind"], r["metadata"]["name"].removesuffix("-here"))
        for r in render("kotatsu", None, KNATIVE).of("Role", "ClusterRole")
    }
    names = {name.removesuffix("-here") for _, name in [*ROLES, *OF_A_CLUSTER]}
    assert {name for _, name in wide} == names
    of_options = {
        "kotatsu-operator-parked",
        "kotatsu-uninstall-parked",
        "kotatsu-operator-capacity",
    }
    assert set(PAGE) == names | of_options
    assert {name for kind, name in wide if kind == "ClusterRole"} == {
        *("kotatsu-operator", "kotatsu-activator", "kotatsu-uninstall", "kotatsu-crds"),
        *("kotatsu-operator-namespaces", "kotatsu-warmpools-view", "kotatsu-warmpools-edit"),
    }
    assert render("pet").of("Role", "ClusterRole", "ServiceAccount") == []
