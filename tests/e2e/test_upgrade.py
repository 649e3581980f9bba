"""Upgrade, rollback, uninstall and reinstall under traffic.

It comes from the release before this checkout (previous.py): `make e2e` does it once, `make soak`
many times and in several namespaces side by side (soak.py). Those share the CRD alone: what else of
a release is cluster-wide (admission policies, the ClusterRole of the Job that upgrades the CRD) has
its namespace in its name.
"""

import asyncio
import contextlib
import json
import time
import uuid

import httpx
import pytest
from chart.kit import helm
from e2e.conftest import LABELED, add_recorder, cluster_ip, remove_namespace, start_app
from e2e.kit import App, Kubectl, config_map, eventually, pool, workload
from e2e.parked import FULL, SMALL, given, requested, restarts
from e2e.pools_of_namespace import PoolsOfNamespace
from e2e.previous import install_crds, previous_release, this_release
from e2e.repetition import count
from e2e.soak import ARENAS, REPEATS, Outcome
from e2e.stream import Stream
from e2e.watcher import NamespaceWatcher
from lightkube import AsyncClient

from kotatsu_operator.core.protocol import record_part
from kotatsu_operator.jobs import crds
from kotatsu_operator.kube.client import Kube

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(4 * 3600),  # soak.py sees to it that it ends
]

CRD = "warmpools.kotatsu.dev"
SPEC = {"idleAfter": "60s", "maxReplicas": 1, "holdTimeout": "120s"}
OF_EACH = {
    "busy": {},
    "cycling": {},
    "quiet": {"idleAfter": "3s"},
    "fresh": {"idleAfter": "3s"},
    "parked": {"idleAfter": "8s", "parkedFor": "24h"},
}
"""What pools have more or else."""
PAUSE = 0.1 * ARENAS
"""Seconds between two requests of a client: all namespaces together ask no more often than one."""


async def on(release, verb, kubectl):
    """helm install or upgrade to a release, and wait for its pods."""
    settings = (*release.settings, LABELED)
    return await run_helm(
        *(verb, "kotatsu", str(release.chart), "-n", kubectl.namespace, "--wait"),
        *("--timeout=4m", *(f"--set={setting}" for setting in settings)),
    )


async def run_helm(*arguments):
    """Run helm; what it says when it fails."""
    done = await asyncio.to_thread(helm, *arguments)
    return "" if done.returncode == 0 else f"helm {arguments[0]}: {done.stderr.strip()}"


async def keep_cycling(pools, app, stopped):
    """Put a pool to sleep again and again, for its stream to wake; returns how often."""
    slept = 0
    while not stopped.is_set():
        generation = await pools.ask_for_sleep(app)
        await pools.watcher.sees("slept", lambda g=generation: pools.has_slept(app, g), 180)
        slept += 1
        await pools.watcher.sees("awake", lambda: pools.status(app)["phase"] == "Warm", 180)
    return slept


def recorded(kubectl):
    """What is remembered of each pool, by the names of this release."""
    data = kubectl.get("configmap", record_part(kubectl.namespace))["data"]
    found = {uid: json.loads(text) for uid, text in data.items()}
    for entry in found.values():
        if "restoreReplicas" in entry:  # its name until version 0.1
            entry["foundReplicas"] = entry.pop("restoreReplicas")
    return found


def crd_revision(kubectl):
    return crds.revision(kubectl.get("crd", CRD))


async def test_upgrade_rollback_uninstall_and_reinstall_under_traffic_lose_nothing(
    context, make_namespace, soak, tmp_path
):
    before = await asyncio.to_thread(previous_release, context, tmp_path)
    install_crds(Kubectl("default"), before)
    row = f"upgrade from {before.name}, rollback, uninstall, reinstall"
    wrong = []
    for _ in soak.chances(row, REPEATS):
        async with soak.turn():
            namespaces = [make_namespace("up") for _ in range(ARENAS)]
            outcomes = await asyncio.gather(
                *(
                    asyncio.to_thread(once, kubectl, before, this_release())
                    for kubectl in namespaces
                )
            )
        for outcome in outcomes:
            soak.add(row, outcome)
            wrong += outcome.wrong
    assert not wrong, wrong


async def test_a_sleeping_pool_whose_service_another_manager_applies_wakes_after_the_upgrade(
    context, make_namespace, http, tmp_path
):
    """Its pods have no gauge: before version 0.1 the activators were beside them."""
    before = await asyncio.to_thread(previous_release, context, tmp_path)
    install_crds(Kubectl("default"), before)
    kubectl, name = make_namespace("up"), "foreign"
    assert await on(before, "install", kubectl) == ""
    deployment, service = workload(name, "")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "METRICS", "value": "missing"})
    by_flux = ("apply", "--server-side", "--field-manager=kustomize-controller", "-f", "-")
    kubectl(*by_flux, stdin=json.dumps(service))
    kubectl.apply(config_map(), deployment, pool(name, idleAfter="15s", holdTimeout="2m"))
    app = App(name, kubectl, cluster_ip(kubectl, name))
    await app.asleep(180)
    await app.send(http)
    await eventually("a share is counted", lambda: app.status()["route"].get("counted"))
    await app.asleep(180)
    assert await on(this_release(), "upgrade", kubectl) == ""
    await app.send(http)
    assert kubectl.get("service", name)["spec"]["selector"] == {"app": name}
    await eventually("two ways out", lambda: "SelectorContested" in str(app.failed("DemandKnown")))
    await app.asleep(180)


def once(kubectl, before, after):
    """All of it in one namespace, in a loop of its own: kubectl stops no stream of the others."""
    try:
        return asyncio.run(come_and_go(kubectl, before, after))
    except Exception as error:
        return Outcome(wrong=(f"{kubectl.namespace}: {error!r}",))
    finally:
        remove_namespace(kubectl.namespace)


async def come_and_go(kubectl, before, after):
    """All of it once, up to a request after the reinstall."""
    wrong = [await on(before, "install", kubectl)]
    add_recorder(kubectl)
    recorder = cluster_ip(kubectl, "recorder")
    busy, cycling, quiet, fresh, parked = apps = [
        await start_app(
            kubectl,
            f"{name}-{uuid.uuid4().hex[:4]}",
            recorder=f"http://{recorder}",
            **SPEC | more,
        )
        for name, more in OF_EACH.items()
    ]
    client = AsyncClient(field_manager="e2e-upgrade")
    async with NamespaceWatcher(Kube.connect("e2e-upgrade"), kubectl.namespace) as watcher:
        pools = PoolsOfNamespace(kubectl, client, watcher)
        await watcher.sees("asleep", lambda: not pools.not_asleep(quiet), 180)
        await watcher.sees("asleep", lambda: not pools.not_asleep(fresh), 180)
        # An uninstall waits for pods that have been Ready before: not for those of `fresh`.
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            await quiet.send(http)
        await watcher.sees("woken", lambda: pools.status(quiet).get("lastWake"), 180)
        await watcher.sees("asleep again", lambda: not pools.not_asleep(quiet), 180)
        await watcher.sees("parked", lambda: has(pools, parked, "Parked", SMALL), 180)
        kept = restarts(watcher.pods(parked.name))
        record = recorded(kubectl)
        revision, began = crd_revision(kubectl), time.monotonic()
        async with Stream(busy, pause=PAUSE, timeout=180) as stream:
            async with Stream(cycling, pause=PAUSE, timeout=180) as woken:
                stopped = asyncio.Event()
                cycles = asyncio.create_task(keep_cycling(pools, cycling, stopped))
                wrong.append(await on(after, "upgrade", kubectl))
                wrong.append(
                    await run_helm("rollback", "kotatsu", "1", "-n", kubectl.namespace, "--wait")
                )
                wrong.append(await on(after, "upgrade", kubectl))
                stopped.set()
                slept = await cycles
            now = recorded(kubectl)
            # This release remembers more of a parked pool; nothing of what was there may go.
            if any(now.get(uid, {}) | kept_of != now.get(uid) for uid, kept_of in record.items()):
                wrong.append("what sleeps was forgotten")
            if crd_revision(kubectl) < revision:
                wrong.append("an older CRD was put in place")
            await watcher.sees("still parked", lambda: has(pools, parked, "Parked", SMALL), 180)
            async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
                await parked.send(http)
            await watcher.sees("restored", lambda: has(pools, parked, "Warm", FULL), 180)
            await watcher.sees("parked", lambda: has(pools, parked, "Parked", SMALL), 180)
            leaving = asyncio.create_task(
                run_helm("uninstall", "kotatsu", "-n", kubectl.namespace, "--wait")
            )
            await watcher.sees("restored", lambda: pools.replicas(quiet) >= 1, 180)
            async with Stream(quiet, pause=PAUSE, timeout=180) as other:
                wrong.append(await leaving)
                await asyncio.sleep(8)
        wrong += left_behind(kubectl, pools, [busy, quiet])
        if [requested(pod) for pod in watcher.pods(parked.name)] != [FULL]:
            wrong.append("a parked pod did not get its requests back")
        if restarts(watcher.pods(parked.name)) != kept:
            wrong.append("a parked pod was replaced or started again")
        with contextlib.suppress(AssertionError):
            await watcher.sees("no slice", lambda: not our_slices(pools, [busy, quiet, fresh]), 60)
        wrong += (
            [f"slices of ours: {left}"] if (left := our_slices(pools, [busy, quiet, fresh])) else []
        )
        wrong.append(await on(after, "install", kubectl))
        await watcher.sees("adopted", lambda: not pools.not_asleep(quiet), 180)
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            await quiet.send(http)
    await client.close()
    streams = (stream, woken, other)
    failures = [f"{s.app.name}: {f}" for s in streams for f in s.failures]
    twice, unheard = await count(apps, recorder)
    wrong += [*failures[:5], *(["acted on twice"] if twice else [])]
    wrong += [f"answered, but never acted on: {unheard}"] if unheard else []
    return Outcome(
        transitions=slept,
        requests=sum(s.done + len(s.failures) for s in streams) + 2,
        lost=len(failures),
        twice=twice,
        converged=round(time.monotonic() - began, 1),
        wrong=tuple(filter(None, wrong)),
    )


def has(pools, app, phase, cpu):
    """Whether the one pod of a pool in this phase requests so much CPU, and has it."""
    pods = [(requested(pod), given(pod)) for pod in pools.watcher.pods(app.name)]
    return pools.status(app).get("phase") == phase and pods == [(cpu, cpu)]


def our_slices(pools, apps):
    return [s["metadata"]["name"] for app in apps for s in pools.slices(app)]


def left_behind(kubectl, pools, apps):
    """What an uninstall should not have left."""
    kinds = "deployments,roles,rolebindings,jobs,serviceaccounts,leases,configmaps"
    names = [o["metadata"]["name"] for o in kubectl.get(kinds)["items"]]
    found = [f"left behind: {name}" for name in names if "kotatsu" in name]
    routes = {app.name: app.status()["route"]["target"] for app in apps}
    return found + [f"{n}: route {r}" for n, r in routes.items() if r != "Native"]
