"""Operators that end, stand still or are away, and an uninstall under traffic."""

import asyncio
import json
import os
import signal
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from chart.kit import helm
from e2e.conftest import ROOT, add_recorder, install_platform, start_app
from e2e.kit import eventually, is_ending, parse, wall

pytestmark = pytest.mark.e2e

LEASE = "kotatsu-operator"


def leader(kubectl):
    return kubectl.get("lease", LEASE)["spec"].get("holderIdentity") or ""


def operators(kubectl):
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "operator"}
    return {p["metadata"]["name"]: p for p in kubectl.items("pods", **labels) if not is_ending(p)}


def signal_pod(pod, number):
    """Signal a pod's Python processes from outside of it."""
    uid = pod["metadata"]["uid"]
    for entry in Path("/proc").iterdir():
        try:
            found = entry.name.isdigit() and f"pod{uid}" in (entry / "cgroup").read_text()
            if found and b"python" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), number)
        except OSError:
            continue


def told(kubectl, name, reason):
    """Who told of a transition of a pool, once for each time."""
    events = kubectl(
        *("get", "events", "-o", "jsonpath={range .items[*]}{.reportingInstance}{'\\n'}{end}"),
        f"--field-selector=involvedObject.kind=WarmPool,involvedObject.name={name},reason={reason}",
    )
    return events.split()


async def settled(kubectl):
    """Two operators, one of which leads."""
    await eventually("two operators", lambda: len(operators(kubectl)) == 2)
    kubectl("rollout", "status", "deployment/kotatsu-operator", "--timeout=120s")
    await eventually("a leader", lambda: leader(kubectl) in operators(kubectl), within=30)
    return leader(kubectl)


async def taken_from(kubectl, former, within):
    """Wait until another leads; returns seconds until its Lease says so."""
    began = datetime.now(UTC)
    await eventually("another leads", lambda: leader(kubectl) not in ("", former), within, 0.05)
    return (datetime.now(UTC) - began).total_seconds()


@pytest.fixture(scope="module")
def two(make_namespace):
    """A namespace with two operators."""
    kubectl = make_namespace("ha")
    install_platform(kubectl, "operator.replicas=2")
    add_recorder(kubectl)
    return kubectl


def name_of(purpose):
    return f"{purpose}-{uuid.uuid4().hex[:4]}"


async def test_a_killed_leader_is_followed_in_time_for_the_window(two, on_node, record_property):
    if not on_node:
        pytest.skip("only tools/node lets this machine kill what runs in a pod")
    former = await settled(two)
    app = await start_app(two, name_of("late"), scaling={"idleAfter": "3s"})
    await app.asleep()
    opens = datetime.now(UTC) + timedelta(seconds=28)
    window = {"name": "soon", "start": wall(opens), "end": wall(opens + timedelta(minutes=10))}
    two.patch(
        "warmpool", app.name,
        {"spec": {"prewarm": {"lead": "8s"}, "windows": [window | {"replicas": 2}]}},
    )  # fmt: skip
    await eventually("the window is known", lambda: "nextTransition" in app.status())

    victim = operators(two)[former]
    # Stopped first, so that it can neither let go of the Lease nor start again in its pod.
    signal_pod(victim, signal.SIGSTOP)
    two("delete", "pod", former, "--grace-period=0", "--force", "--wait=false")
    signal_pod(victim, signal.SIGKILL)
    took = await taken_from(two, former, within=15)

    record_property("takeover", took)
    await eventually("ready", lambda: (app.status().get("lastOpening") or {}).get("readyAt"), 60)
    opening = app.status()["lastOpening"]
    assert opening["window"] == "soon"
    assert parse(opening["readyAt"]) <= parse(opening["at"])
    assert told(two, app.name, "Warming") == [leader(two)]


async def test_a_leader_that_ends_lets_the_other_act_at_once(two, record_property):
    former = await settled(two)
    two("delete", "pod", former, "--wait=false")
    took = await taken_from(two, former, within=5)
    record_property("takeover", took)


async def test_a_leader_that_stood_still_has_nothing_to_say_when_it_goes_on(two, on_node):
    if not on_node:
        pytest.skip("only tools/node lets this machine stop what runs in a pod")
    former = await settled(two)
    app = await start_app(two, name_of("frozen"), scaling={"idleAfter": "3s"})
    await app.asleep()
    pod = operators(two)[former]
    signal_pod(pod, signal.SIGSTOP)
    try:
        await taken_from(two, former, within=15)
        two.patch("warmpool", app.name, {"spec": {"override": _warm()}})
        await eventually("warm", lambda: app.phase() == "Warm", within=30)
    finally:
        signal_pod(pod, signal.SIGCONT)
    await asyncio.sleep(6)
    assert leader(two) != former
    assert told(two, app.name, "Warming")[-1:] == [leader(two)]
    assert two("logs", former, "--tail=50").count("no longer the leader") >= 1


async def test_only_the_leader_shows_pools_and_says_that_it_leads(two):
    former = await settled(two)
    app = await start_app(two, name_of("shown"))
    found = {}
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
        for name, pod in operators(two).items():
            page = (await http.get(f"http://{pod['status']['podIP']}:8080/metrics")).text
            shows = f'kotatsu_pool_phase{{name="{app.name}"' in page
            found[name] = ("kotatsu_operator_leader 1.0" in page, shows)
    assert found[former] == (True, True)
    assert {v for n, v in found.items() if n != former} == {(False, False)}


async def test_a_pool_deleted_while_no_operator_runs_gives_its_target_back_later(two):
    app = await start_app(two, name_of("unseen"), scaling={"idleAfter": "3s"})
    kept = await start_app(two, name_of("kept"), scaling={"idleAfter": "3s"}, onDelete="Keep")
    await app.asleep()
    await kept.asleep()
    two("scale", "deployment/kotatsu-operator", "--replicas=0")
    await eventually("no operator", lambda: not operators(two))
    await eventually("let go", lambda: leader(two) == "")
    two("delete", "warmpool", app.name, kept.name)
    assert app.replicas() == 0
    two("scale", "deployment/kotatsu-operator", "--replicas=2")
    await eventually("restored", lambda: app.replicas() == 1, within=30)
    record = lambda: two.get("configmap", "kotatsu-targets").get("data") or {}  # noqa: E731
    await eventually(
        "struck out",
        lambda: not [t for t in record().values() if app.name in t or kept.name in t],
    )
    assert kept.replicas() == 0


async def test_an_upgrade_keeps_the_record_of_what_sleeps(two):
    app = await start_app(two, name_of("upgraded"), scaling={"idleAfter": "3s"})
    await app.asleep()
    record = two.get("configmap", "kotatsu-targets")["data"]
    assert any(app.name in text for text in record.values())
    # One operator, then two again: the strategy follows.
    for replicas, strategy in ((1, "Recreate"), (2, "RollingUpdate")):
        done = helm(
            *("upgrade", "kotatsu", str(ROOT / "charts/kotatsu"), "-n", two.namespace, "--wait"),
            *("--reuse-values", f"--set=operator.replicas={replicas},logLevel=debug"),
        )
        assert done.returncode == 0, done.stderr
        assert two.get("deployment", "kotatsu-operator")["spec"]["strategy"]["type"] == strategy
        after = two.get("configmap", "kotatsu-targets")["data"]
        assert record.items() <= after.items()


async def test_an_operator_that_elects_no_leader_ends_before_two_that_do_begin(make_namespace):
    kubectl = make_namespace("older")
    install_platform(kubectl, "crds.upgrade=false")
    env = kubectl.get("deployment", "kotatsu-operator")["spec"]["template"]["spec"]["containers"]
    number = [e["name"] for e in env[0]["env"]].index("KOTATSU_POD_NAMESPACE")
    path = f"/spec/template/spec/containers/0/env/{number}"
    patch = json.dumps([{"op": "remove", "path": path}])
    kubectl("patch", "deployment", "kotatsu-operator", "--type=json", "-p", patch)
    for strategy in ("Recreate", "RollingUpdate"):  # the first knows no Lease, the second does
        done = helm(
            *("upgrade", "kotatsu", str(ROOT / "charts/kotatsu"), "-n", kubectl.namespace),
            *("--reuse-values", "--set=operator.replicas=2", "--wait"),
        )
        assert done.returncode == 0, done.stderr
        found = kubectl.get("deployment", "kotatsu-operator")["spec"]["strategy"]["type"]
        assert found == strategy


def _warm():
    until = datetime.now(UTC) + timedelta(minutes=5)
    return {"mode": "Warm", "replicas": 1, "until": until.isoformat().replace("+00:00", "Z")}
