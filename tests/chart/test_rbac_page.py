"""docs/reference/permissions.md lists every rule that the chart has, with a reason.

The page is made of the templates' text (tests/docs/test_reference.py); here is what Helm renders.
"""

from chart.kit import CHARTS, Object, render
from rows import each

from kotatsu_docs.__main__ import ROLES as WITH_ROLES
from kotatsu_docs.__main__ import roles
from kotatsu_docs.permissions import PARTS
from kotatsu_operator.core.protocol import record_part

TEMPLATES = CHARTS / "kotatsu/templates"
NO_RIGHTS = {"policies", "flowschema"}
PAGE = {role.name: role for role in roles()}
ROLES = [
    ("ClusterRole", "kotatsu-operator-here"),
    ("Role", "kotatsu-operator-leader"),
    ("ClusterRole", "kotatsu-operator-namespaces-here"),
    ("Role", "kotatsu-operator-record"),
    ("ClusterRole", "kotatsu-activator-here"),
    ("ClusterRole", "kotatsu-uninstall-here"),
    ("Role", "kotatsu-uninstall-leader"),
    ("Role", "kotatsu-uninstall-record"),
    ("ClusterRole", "kotatsu-crds-here"),
    ("Role", "kotatsu-knative-here"),
    ("ClusterRole", "kotatsu-warmpools-view-here"),
    ("ClusterRole", "kotatsu-warmpools-edit-here"),
]
MARKS = [
    ("ClusterRole", "kotatsu-serves-unlabeled-namespaces"),
    ("Role", "kotatsu-owns-the-record"),
]
"""The roles without a rule that one release of a cluster can have, and one of a namespace."""
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
    [role] = [r for r in render("kotatsu", None, KNATIVE).of(kind) if r["metadata"]["name"] == name]
    assert on_the_page(name) == rendered(role)


SETS = "--set=sets.enabled=true"
CAPACITY = ("--set=capacityAhead.enabled=true", "--set=capacityAhead.image=mirror/pause")


@each(
    "name, options",
    [
        ("kotatsu-operator-parked-here", ("--set=parked.enabled=true",)),
        ("kotatsu-uninstall-parked-here", ("--set=parked.enabled=true",)),
        ("kotatsu-operator-capacity-here", CAPACITY),
        ("kotatsu-operator-sets-here", (SETS,)),
        ("kotatsu-warmpoolsets-here", (SETS,)),
    ],
)
def test_the_page_has_the_rules_for_what_is_off_and_the_chart_only_when_it_is_asked(
    name: str, options: tuple[str, ...]
) -> None:
    role = render("kotatsu", None, *options).one("ClusterRole", name)
    assert on_the_page(name) == rendered(role)
    assert name not in render("kotatsu").names("ClusterRole")


def test_activators_of_their_own_have_the_rules_of_shared_ones_in_their_namespace_alone() -> None:
    chart = render("kotatsu", CHARTS / "kotatsu/ci/own-activators.yaml")
    wide = chart.one("ClusterRole", "kotatsu-activator-here")
    for namespace in ("team-a", "team-b", "team-c"):
        role = chart.one("Role", "kotatsu-activator", namespace)
        assert role["rules"] == wide["rules"]
        binding = chart.one("RoleBinding", "kotatsu-activator", namespace)
        assert binding["roleRef"]["kind"] == "Role"
        account = {"kind": "ServiceAccount", "name": "kotatsu-activator", "namespace": namespace}
        assert binding["subjects"] == [account]
        assert chart.one("ServiceAccount", "kotatsu-activator", namespace)
    assert chart.names("Role").count("kotatsu-activator") == 3, "none where the ClusterRole is"
    assert chart.names("ServiceAccount").count("kotatsu-activator") == 4


def test_the_chart_has_no_other_roles() -> None:
    chart = render("kotatsu", None, KNATIVE)
    found = [(r["kind"], r["metadata"]["name"]) for r in chart.of("Role", "ClusterRole")]
    assert sorted(found) == sorted([*ROLES, *MARKS])
    bound = {b["roleRef"]["name"] for b in chart.of("ClusterRoleBinding", "RoleBinding")}
    for kind, name in MARKS:
        assert chart.one(kind, name)["rules"] == []
        assert name not in bound
    of_options = {
        "kotatsu-operator-parked",
        "kotatsu-uninstall-parked",
        "kotatsu-operator-capacity",
        "kotatsu-operator-sets",
        "kotatsu-warmpoolsets",
    }
    assert set(PAGE) == {name.removesuffix("-here") for _, name in ROLES} | of_options
    assert render("pet").of("Role", "ClusterRole", "ServiceAccount") == []
