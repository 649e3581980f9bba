"""docs/reference/permissions.md lists every rule, with the reason that the chart gives above it."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from chart.kit import CHARTS, ROOT, Object, own, render

from kotatsu_operator.core.protocol import record_part

NO_RIGHTS = {CHARTS / f"kotatsu/templates/{name}.yaml" for name in ("policies", "flowschema")}
PAGE = (ROOT / "docs/reference/permissions.md").read_text()
TEMPLATES = sorted(set((CHARTS / "kotatsu/templates").glob("*.yaml")) - NO_RIGHTS)
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
PARTS = sorted({record_part(str(n)) for n in range(1000)})
KNATIVE = "--api-versions=serving.knative.dev/v1/Service"


def reasons() -> Iterator[tuple[str, Object, str]]:
    """Each rule in the templates with the Role it belongs to, and the comment above it."""
    for template in TEMPLATES:
        role, lines = "", template.read_text().splitlines()
        for number, line in enumerate(lines):
            if defined := re.match(r'\{\{- define "kotatsu.rules.(.*)" -\}\}', line):
                role = f"kotatsu-{defined[1]}".replace("knative", "knative-here")
            elif line.startswith("  name: "):
                role = line.removeprefix("  name: ").replace("{{ $name }}", "kotatsu-crds-here")
                role = role.replace("{{ $fullname }}", "kotatsu")
                role = role.replace("{{ .Release.Namespace }}", "here")
            line = line.replace('{{ include "kotatsu.recordParts" . }}', json.dumps(PARTS))
            if not line.lstrip().startswith("- {apiGroups:"):
                assert "apiGroups:" not in line, f"{template.name}: a rule stands on one line"
                continue
            above = lines[number - 1].strip()
            assert above.startswith("# "), f"{template.name}: {line} says no reason"
            [rule] = yaml.safe_load(line)
            yield role, rule, above.removeprefix("# ")


def row(rule: Object) -> str:
    """A rule as a line of the page's tables."""
    names = "".join(f" `{name}`" for name in rule.get("resourceNames", ()))
    [group] = rule["apiGroups"]
    whats = [what.partition("/") for what in rule["resources"]]
    told = ", ".join(w + (f".{group}" if group else "") + slash + sub for w, slash, sub in whats)
    return f"| {told}{names} | {', '.join(rule['verbs'])} |"


@pytest.mark.parametrize(("kind", "name"), ROLES)
def test_the_page_has_each_rule_with_its_reason(kind: str, name: str) -> None:
    why = {row(rule): reason for role, rule, reason in reasons() if role == name}
    [role] = [r for r in own(None, KNATIVE).of(kind) if r["metadata"]["name"] == name]
    rules = role["rules"]
    wanted = [f"{row(rule)} {why[row(rule)]} |" for rule in rules]

    section = PAGE.split(f"## {name.removesuffix('-here')}\n")[1].split("\n## ")[0]
    found = [line for line in section.splitlines() if re.match(r"\| [^-]", line)][1:]

    assert found == wanted


CAPACITY = ("--set=capacityAhead.enabled=true", "--set=capacityAhead.image=mirror/pause")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kotatsu-operator-parked", ("--set=parked.enabled=true",)),
        ("kotatsu-uninstall-parked", ("--set=parked.enabled=true",)),
        ("kotatsu-operator-capacity", CAPACITY),
    ],
)
def test_the_page_has_the_rules_for_what_is_off_and_the_chart_only_when_it_is_asked(
    name: str, options: tuple[str, ...]
) -> None:
    why = {row(rule): reason for role, rule, reason in reasons() if role == name}
    chart = own(None, *options)
    [role] = [r for r in chart.of("Role") if r["metadata"]["name"] == name]
    wanted = [f"{row(rule)} {why[row(rule)]} |" for rule in role["rules"]]
    section = PAGE.split(f"## {name}\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if re.match(r"\| [^-]", line)][1:] == wanted
    assert not [r for r in own().of("Role") if r["metadata"]["name"] == name]


@pytest.mark.parametrize(("kind", "name"), OF_A_CLUSTER)
def test_the_page_has_the_rules_of_cluster_mode(kind: str, name: str) -> None:
    why = {row(rule): reason for role, rule, reason in reasons() if role == name}
    found = {obj["metadata"]["name"]: obj for obj in render("kotatsu").of(kind)}
    role = found[name if kind == "Role" else f"{name}-here"]
    wanted = [f"{row(rule)} {why[row(rule)]} |" for rule in role["rules"]]
    section = PAGE.split(f"## {name}\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if re.match(r"\| [^-]", line)][1:] == wanted


@pytest.mark.parametrize("name", ["operator", "activator", "uninstall"])
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
    assert {name for kind, name in wide if kind == "ClusterRole"} == {
        *("kotatsu-operator", "kotatsu-activator", "kotatsu-uninstall", "kotatsu-crds"),
        *("kotatsu-operator-namespaces", "kotatsu-warmpools-view", "kotatsu-warmpools-edit"),
    }
    assert render("pet").of("Role", "ClusterRole", "ServiceAccount") == []
