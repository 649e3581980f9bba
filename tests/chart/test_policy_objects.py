"""The admission policies as objects: each is bound, on the page, and can be left out.

What they refuse is shown by tests/apiserver/test_policies.py.
"""

import re

from chart.kit import CHARTS, ROOT, render, template
from e2e import rights


def test_the_page_of_rights_has_each_policy() -> None:
    page = (ROOT / "docs/reference/permissions.md").read_text()
    rows = re.findall(r"^\| (kotatsu-[a-z]+) \|", page, re.MULTILINE)
    on = (f"--set={name}.enabled=true" for name in ("parked", "sets"))
    all_of_them = render("kotatsu", CHARTS / "kotatsu/ci/capacity.yaml", *on)
    assert [f"{name}-here" for name in sorted(rows)] == all_of_them.names(rights.POLICIES[0])


def test_each_policy_is_bound_and_denies() -> None:
    chart = render("kotatsu")
    names = chart.names("ValidatingAdmissionPolicy")
    assert len(names) == 11
    assert all(name.endswith("-here") for name in names)
    bindings = chart.of("ValidatingAdmissionPolicyBinding")
    assert sorted(binding["spec"]["policyName"] for binding in bindings) == names
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings)
    for policy in chart.of("ValidatingAdmissionPolicy"):
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert policy["spec"]["matchConditions"]


def test_without_permission_to_create_them_the_policies_can_be_left_out() -> None:
    chart = render("kotatsu", None, "--set=admissionPolicies.enabled=false")
    assert chart.of(*rights.POLICIES) == []


def test_without_the_policies_the_operator_has_no_right_to_change_pods_and_marks_none() -> None:
    off = "--set=admissionPolicies.enabled=false"
    for given, changes in (((), True), ((off,), False)):
        chart = render("kotatsu", None, *given)
        rules = chart.one("ClusterRole", "kotatsu-operator-here")["rules"]
        of_pods = [rule for rule in rules if "pods" in rule["resources"]]
        assert any("patch" in rule["verbs"] for rule in of_pods) is changes
        operator = str(chart.one("Deployment", "kotatsu-operator"))
        assert ("KOTATSU_MARK_PODS" in operator) is not changes


def test_where_knative_is_not_kept_no_policy_names_it() -> None:
    names = render("kotatsu", None, "--set=knative.enabled=false").names(
        "ValidatingAdmissionPolicy"
    )
    assert "kotatsu-revisions-here" not in names


def test_without_the_permission_to_patch_services_no_rule_of_the_operator_has_it() -> None:
    def patches(*arguments: str) -> list[str]:
        chart = render("kotatsu", None, *arguments)
        rules = ((role, rule) for role in chart.of("ClusterRole") for rule in role["rules"])
        return [
            role["metadata"]["name"]
            for role, rule in rules
            if "services" in rule["resources"] and "" in rule["apiGroups"]
            if "patch" in rule["verbs"]
        ]

    off = "--set=rbac.patchServices=false"
    assert patches() == ["kotatsu-operator-here", "kotatsu-uninstall-here"]
    assert patches(off) == ["kotatsu-uninstall-here"]
    operators = [
        str(render("kotatsu", None, *given).one("Deployment", "kotatsu-operator"))
        for given in ((), (off,))
    ]
    assert ["KOTATSU_PATCH_SERVICES" in operator for operator in operators] == [False, True]


def test_sets_that_are_not_enabled_have_no_rights_and_enabling_them_needs_the_policies() -> None:
    on, off = render("kotatsu", None, "--set=sets.enabled=true"), render("kotatsu")
    for kind, names in {
        "ClusterRole": {"kotatsu-operator-sets-here", "kotatsu-warmpoolsets-here"},
        "ClusterRoleBinding": {"kotatsu-operator-sets-here"},
        rights.POLICIES[0]: {"kotatsu-sets-here"},
        rights.POLICIES[1]: {"kotatsu-sets-here"},
    }.items():
        assert set(on.names(kind)) - set(off.names(kind)) == names
        assert "kotatsu-membership-here" in off.names(kind) or "Policy" not in kind
    operators = [str(chart.one("Deployment", "kotatsu-operator")) for chart in (on, off)]
    assert ["KOTATSU_SETS" in operator for operator in operators] == [True, False]
    alone = ("--set=sets.enabled=true", "--set=admissionPolicies.enabled=false")
    assert (
        "sets.enabled needs admissionPolicies.enabled" in template("kotatsu", None, *alone).stderr
    )
