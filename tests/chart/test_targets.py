"""The value `targets`: what the programs may do with further kinds of workloads, and what not."""

import json

from chart.kit import Rendered, render, template
from rows import each

ROLLOUT = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts"}
GROUP = "argoproj.io"


def rendered(*targets: dict[str, str]) -> Rendered:
    return render("kotatsu", None, f"--set-json=targets={json.dumps(targets)}")


def verbs(chart: Rendered, role: str) -> dict[str, list[str]]:
    """The verbs of a ClusterRole for Argo's group, by resource."""
    rules = chart.one("ClusterRole", f"{role}-here")["rules"]
    ours = [rule for rule in rules if rule["apiGroups"] == [GROUP]]
    return {resource: rule["verbs"] for rule in ours for resource in rule["resources"]}


@each(
    "role, given",
    [
        (
            "kotatsu-operator",
            {"rollouts": ["get", "list", "watch"], "rollouts/scale": ["get", "update"]},
        ),
        (
            "kotatsu-activator",
            {"rollouts": ["get", "list", "watch"], "rollouts/scale": ["get", "patch"]},
        ),
        ("kotatsu-uninstall", {"rollouts": ["get"], "rollouts/scale": ["get", "update"]}),
    ],
)
def test_a_kind_is_read_and_scaled_and_nothing_else_of_it_is_changed(
    role: str, given: dict[str, list[str]]
) -> None:
    assert verbs(rendered(ROLLOUT), role) == given
    assert verbs(rendered(), role) == {}


def test_each_program_gets_the_kinds() -> None:
    chart = rendered(ROLLOUT)
    given = [
        {e["name"]: e.get("value") for e in container.get("env", ())}.get("KOTATSU_TARGETS")
        for kind, name in (
            ("Deployment", "kotatsu-operator"),
            ("Deployment", "kotatsu-activator-0"),
            ("Job", "kotatsu-uninstall"),
        )
        for container in chart.one(kind, name, "here")["spec"]["template"]["spec"]["containers"]
    ]
    assert given == ["argoproj.io/v1alpha1/Rollout/rollouts"] * 3


def test_the_policy_of_scales_is_about_the_kinds_too() -> None:
    policy = rendered(ROLLOUT).one(
        "ValidatingAdmissionPolicy", "kotatsu-scales-here", namespace="here"
    )
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    assert {r for rule in rules for r in rule["resources"]} == {
        "deployments/scale",
        "statefulsets/scale",
        "rollouts/scale",
    }


@each(
    "wrong",
    [
        ROLLOUT | {"apiVersion": "v1alpha1"},
        ROLLOUT | {"kind": "Service"},
        ROLLOUT | {"resource": "rollouts/scale"},
        {"kind": "Rollout"},
    ],
)
def test_a_kind_that_cannot_be_one_is_refused(wrong: dict[str, str]) -> None:
    done = template("kotatsu", None, f"--set-json=targets={json.dumps([wrong])}")
    assert done.returncode != 0
    assert "targets" in done.stderr
