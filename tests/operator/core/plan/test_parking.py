"""What a parked pod requests of its node, and that pages say the same."""

from decimal import Decimal

from docs.pages import ROOT

from kotatsu_operator.core.budget.prices import hourly, pod_requests, requesting
from kotatsu_operator.core.pool.resize import parked_spec
from kotatsu_operator.core.pool.spec import PLATFORM, Prices

CPU = PLATFORM.parked_cpu
VOICE = {
    "containers": [{"name": "voice", "resources": {"requests": {"cpu": "250m", "memory": "320Mi"}}}]
}


def test_each_container_and_sidecar_is_reduced_and_no_init_container() -> None:
    one = {"resources": {"requests": {"cpu": "1"}}}
    pod = {
        "containers": [{"name": "a", **one}, {"name": "b", **one}],
        "initContainers": [
            {"name": "proxy", "restartPolicy": "Always", **one},
            {"name": "setup", "resources": {"requests": {"cpu": "300m"}}},
        ],
    }
    reduced = parked_spec(pod, CPU)
    assert pod_requests(reduced) == {"cpu": Decimal("0.305")}, "the init container and its sidecar"
    assert pod_requests(pod) == {"cpu": 3}, "the template itself is as it was"


def test_a_limit_stands_in_for_a_request_and_without_both_there_is_nothing_to_reduce() -> None:
    limited = {"name": "a", "resources": {"limits": {"cpu": "1"}}}
    pod = {"containers": [limited, {"name": "b"}]}
    assert pod_requests(parked_spec(pod, CPU)) == {"cpu": Decimal("0.005")}


def test_the_parts_of_a_template_that_are_kept_have_the_same_requests() -> None:
    pod = VOICE | {"nodeName": "a", "overhead": {"cpu": "10m"}}
    assert "nodeName" not in requesting(pod)
    assert pod_requests(requesting(pod)) == pod_requests(pod)


def test_the_page_about_costs_has_the_three_prices() -> None:
    prices = Prices("JPY", {"cpu": Decimal("6.5"), "memory": Decimal("0.7")})
    lines = (ROOT / "docs/cost.md").read_text().splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    pods = {"warm": VOICE, "parked": parked_spec(VOICE, CPU), "asleep": {}}
    for name, pod in pods.items():
        hour = hourly(pod_requests(pod), prices)
        shown = f"{hour.normalize():f}" if hour else "0"
        month = f"{hour * 730:,.2f}" if hour else "0"
        assert f"| {shown} JPY | {month} JPY |" in rows[name]
    assert (2 / Decimal("0.25"), 2 / Decimal("0.005")) == (8, 400), "pods of a node with 2 cores"
