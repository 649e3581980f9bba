"""`create` writes a WarmPool that the API server and the operator accept, filled in by `check`."""

import json
from typing import Any

import pytest
import yaml
from plugin.kit import EVENINGS, PITCH, demo_mode
from plugin.setups import (
    LABELS,
    Objects,
    Recorded,
    autoscaler,
    changed,
    container,
    deployment,
    good,
    operator,
    plus,
    pod,
    service,
    warm_pool,
    with_service,
    without,
)
from plugin.test_check import PAGES
from rows import each

from kotatsu_demo_mode.create import manifest_text
from kotatsu_demo_mode.pools import read_pool
from tests.gauges.real import served

WINDOWS = (
    *("--window", "final-pitch", "--at", "2026-11-25T10:00", "--for", "2h", "--replicas", "5"),
    *("--window", "rehearsal", "--schedule", "0 18 * * 1-5", "--for", "90m", "--replicas", "2"),
)
TOKYO = ("--time-zone", "Asia/Tokyo")


def created(objects: Objects, *words: str, pages: Any = PAGES) -> tuple[dict[str, Any], str]:
    """The manifest, and the text that it stands in."""
    ran = demo_mode("create", "deployment/web", *words, cluster=Recorded(objects, pages))
    assert (ran.code, ran.err) == (0, "")
    made = yaml.safe_load(ran.out)
    read_pool(made, strict=True)
    return made, ran.out


def test_the_windows_are_those_of_window_add():
    made, text = created(good(), *TOKYO, *WINDOWS)
    assert made["spec"]["windows"] == [PITCH, EVENINGS]
    assert made["metadata"] == {"name": "web", "namespace": "demo"}
    assert "# final-pitch, 10:00 to 12:00 Asia/Tokyo (in 4h), 5 pods, price unknown\n" in text


def test_nothing_is_written_without_apply():
    cluster = Recorded(good(), PAGES)
    demo_mode("create", "web", cluster=cluster)
    assert cluster.made == []
    ran = demo_mode("create", "web", "--apply", "--dry-run=server", cluster=cluster)
    assert (ran.out, cluster.made) == ("warmpool.kotatsu.dev/web created (server dry run)\n", [])
    ran = demo_mode("create", "web", "--apply", "--name", "tea", cluster=cluster)
    assert ran.out == "warmpool.kotatsu.dev/tea created\n"
    assert [pool["metadata"]["name"] for pool in cluster.made] == ["tea"]


def test_json_has_what_the_yaml_has():
    ran = demo_mode(
        "create", "web", *TOKYO, *WINDOWS, "-o", "json", cluster=Recorded(good(), PAGES)
    )
    assert ran.json == created(good(), *TOKYO, *WINDOWS)[0]
    assert ran.err.startswith("web: final-pitch, ")


# --- what is filled in ---


def test_while_the_pod_starts_it_says_that_the_hold_timeout_is_left_out():
    others = [o for o in good() if o["metadata"]["name"] != "web-1"]
    made, text = created([*others, pod("web-1", LABELS, ready=False)])
    assert "holdTimeout" not in made["spec"]
    said = " ".join(text.replace("# ", "").split())
    assert "NotChecked: how long a start takes, and so whether requests wait long enough" in said
    assert "(45s, spec.holdTimeout): pod web-1 is not Ready yet; repeat when it is" in said
    assert "start one" not in said


def test_all_that_could_not_be_read_is_said():
    unprobed = changed(lambda o: container(o).pop("readinessProbe"))
    others = [o for o in unprobed if o["metadata"]["name"] != "web-1"]
    _, text = created(others)
    said = " ".join(text.replace("# ", "").split())
    assert said.count("NotChecked: ") == 3
    for what in ("requests in flight", "whether its clients speak first", "how long a start takes"):
        assert f"NotChecked: {what}" in said


def test_a_gauge_at_the_default_place_needs_no_field():
    made, text = created(good())
    assert (made["spec"]["route"], "inFlightMetric" in made["spec"]) == ("Auto", False)
    assert (
        "# Pod web-1 reports its requests in flight (kotatsu_requests_in_flight).\n  route" in text
    )


def test_a_gauge_elsewhere_is_named():
    objects = changed(
        lambda o: container(o)["ports"].append({"name": "management", "containerPort": 9000})
    )
    boot, _ = served("spring-boot-3.3")
    made, text = created(objects, pages={"web-1:9000/actuator/prometheus": boot})
    assert "in flight (http_server_requests_active_seconds_count)" in text
    assert made["spec"]["inFlightMetric"] == {
        "port": "management",
        "path": "/actuator/prometheus",
    }


@pytest.mark.parametrize("page", ["", "http_server_active_requests 1\n"])
def test_no_gauge_and_one_that_is_never_zero_are_not_named(page: str):
    made, text = created(good(), pages={"web-1:8080/metrics": page})
    assert "inFlightMetric" not in made["spec"]
    assert made["spec"]["route"] == "Activator"
    assert "# Its pods report no usable gauge" in text


def test_a_service_without_a_selector_means_route_activator():
    made, _ = created(with_service(selector=None))
    assert made["spec"]["route"] == "Activator"


def test_a_service_of_another_name_is_named():
    made, text = created([*without("Service"), service("front")])
    assert made["spec"]["service"] == "front"
    assert "  # Requests to this Service wake Deployment web.\n  service: front\n" in text


def test_slow_pods_are_waited_for_twice_as_long():
    slow = pod("web-1", {"app": "web"})
    slow["status"]["conditions"][1]["lastTransitionTime"] = "2030-01-01T00:01:01Z"
    made, text = created([slow if o["metadata"]["name"] == "web-1" else o for o in good()])
    assert made["spec"]["holdTimeout"] == "2m10s"
    assert "# Twice the 1m1s that a pod took" in text
    assert {"holdTimeout", "idleAfter"}.isdisjoint(created(good())[0]["spec"])
    slow["status"]["conditions"][1]["lastTransitionTime"] = "2030-01-01T00:02:30Z"
    made, text = created([slow if o["metadata"]["name"] == "web-1" else o for o in good()])
    assert made["spec"]["idleAfter"] == "5m"
    assert "# Twice the 2m30s of a start" in text


def test_a_stateful_set_is_waited_for_until_the_old_pod_has_ended_too():
    objects = [deployment() | {"kind": "StatefulSet"}, *good()[1:]]
    ran = demo_mode("create", "statefulset/web", cluster=Recorded(objects, PAGES))
    assert 'holdTimeout: "1m10s"' in ran.out
    assert "and the 40s in which the pod before it may end" in " ".join(
        ran.out.replace("# ", "").split()
    )


def test_the_prices_of_the_chart_price_the_windows():
    table = json.dumps({"currency": "JPY", "cpuHour": "6.5", "memoryGiBHour": "0.7"})
    others = [o for o in good() if "operator" not in o["metadata"]["name"]]
    made, text = created([*others, operator(prices=table)], *TOKYO, *WINDOWS)
    assert "budget" not in made["spec"]
    assert "5 pods, 7.00 JPY more" in text


@each("table", ["{", "[]", '{"cpuHour": "cheap"}', "[" * 9000, '"x"'])
def test_prices_that_cannot_be_read_are_left_out(table: str):
    others = [o for o in good() if "operator" not in o["metadata"]["name"]]
    _, text = created([*others, operator(prices=table)], *TOKYO, *WINDOWS)
    assert "price unknown" in text


def test_the_time_zone_is_that_of_the_other_pools():
    other = warm_pool("tea", targetRef={"name": "tea"}, timeZone="Asia/Tokyo")
    assert created(plus(other))[0]["spec"]["timeZone"] == "Asia/Tokyo"
    assert created(good())[0]["spec"]["timeZone"] == "UTC"


def test_a_window_of_more_pods_raises_the_maximum():
    made, _ = created(good(), "--window", "big", "--at", "18:30", "--replicas", "30")
    assert made["spec"]["maxReplicas"] == 30


@each("running, spec", [
    (1, {}),
    (3, {"minReplicas": 3}),
    (12, {"minReplicas": 12, "maxReplicas": 12}),
])  # fmt: skip
def test_the_pods_that_run_are_the_least(running: int, spec: dict[str, int]):
    made, _ = created(changed(lambda objects: objects[0]["spec"].update(replicas=running)))
    assert {k: v for k, v in made["spec"].items() if k.endswith("Replicas")} == spec


def test_the_least_of_a_workload_with_an_autoscaler_is_the_autoscalers():
    objects = changed(lambda objects: objects[0]["spec"].update(replicas=3))
    assert "minReplicas" not in created([*objects, autoscaler()])[0]["spec"]


def test_warnings_stand_above_the_manifest():
    _, text = created(changed(lambda o: container(o).pop("readinessProbe")))
    assert text.startswith("# ReadinessMissing: container web has no readinessProbe")


# --- what is not written ---


@each(
    "objects, words, said",
    [
        (without("Service"), (), "error: ServiceNotFound: there is no Service web"),
        (plus(warm_pool()), (), "error: Deployment web has the WarmPool web; add windows to it"),
        (good(), ("--window", "a"), "error: --window a: give its start by either --at or --sched"),
        (good(), ("--window", "a", "--at", "25:00"), "error: --at: '25:00' is not a time of day"),
        (
            good(),
            ("--window", "a", "--at", "18:30", "--for", "x"),
            "error: --for: 'x' is not a dur",
        ),
        (good(), ("--time-zone", "Mars/Base"), "error: WarmPool web: spec.timeZone: 'Mars/Base'"),
        (good(), ("--name", "A b"), "error: --name: 'A b' is not a name"),
        (plus(autoscaler("a"), autoscaler("b")), (), "error: TwoAutoscalers: "),
    ],
)
def test_what_would_not_work_is_not_written(objects: Objects, words: tuple[str, ...], said: str):
    ran = demo_mode("create", "web", *words, cluster=Recorded(objects, PAGES))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(said)
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--at", "18:30"),
        ("--window", "a", "--at", "18:30", "--at", "19:30"),
        ("--window", "a", "--replicas", "0"),
    ],
)
def test_flags_of_no_window_are_wrong_usage(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        demo_mode("create", "web", *words, cluster=Recorded(good()))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_pool_that_exists_by_then_is_not_replaced():
    cluster = Recorded(good(), PAGES)
    assert demo_mode("create", "web", "--apply", cluster=cluster).code == 0
    ran = demo_mode("create", "web", "--apply", cluster=cluster)
    assert (ran.code, ran.out) == (1, "")


# --- the text ---


@each(
    "value",
    [
        "web",
        "no",
        "Y",
        "1e3",
        "2030-12-18T10:00",
        "0 18 * * 1-5",
        "a: b",
        "",
        "# x",
        "あ",
        "a\nb",
        7,
    ],
)
def test_values_are_read_back_as_they_are(value: Any):
    spec = {"a": value, "b": {"c": value}, "d": [{"e": value}], "f": [value], "g": {}, "h": []}
    whole = {"metadata": {"name": value}, "spec": spec}
    assert yaml.safe_load(manifest_text(whole, {"a": "why"})) == whole


def test_a_comment_stays_a_comment_whatever_it_says():
    text = manifest_text({"spec": {"a": 1}}, {"a": "one\nkind: Secret " + "long " * 60})
    assert yaml.safe_load(text) == {"spec": {"a": 1}}
    assert max(map(len, text.splitlines())) <= 100


def test_the_rule_is_proposed_where_idle_pods_can_be_parked():
    made, text = created([*good()[:-1], operator(parked=True)])
    assert (made["spec"]["idleAfter"], made["spec"]["parkedFor"]) == ("30s", "2h30m")
    assert "A parked pod keeps its memory" in text
    made, _ = created(good())
    assert not {"idleAfter", "parkedFor"} & set(made["spec"])
