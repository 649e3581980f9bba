"""One WarmPoolSet over 10,000 Deployments in 1,000 namespaces, beside as many hand-written pools.

API server, etcd and the controllers are real and run on this machine with the operator and two
activators; pods are pretended. With two numbers it runs once in that size: `.venv/bin/python
bench/sets.py 100 10` has 100 namespaces with 10 Deployments each.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightkube.types import PatchType

from kotatsu_node.errors import NodeError
from kotatsu_operator.kube.objects import WarmPool, WarmPoolSet
from report import Row
from samples import Samples, amount
from simulation.install import HOW, IDLE, SELECTED, TIERS, Install, Pool, installed, until
from simulation.measure import resident_mib
from simulation.run import warm_pool
from simulation.wakes import wake_up
from topic import again, main, progress, unmeasured

AGAIN = again("sets")
SECONDS = 5400
PACE = 10.0
NAME = "previews"


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    namespaces: int = 1000
    each: int = 10
    idle: float = 60.0
    environments: int = 100
    """Namespaces that are woken at once."""
    calm: float = 15.0


QUICK = Size(20, 10, 15.0, 10, 5.0)


async def rows(quick: bool) -> list[Row]:
    """All of it: first by hand, then by the set."""
    return await measured(QUICK if quick else Size())


async def measured(size: Size) -> list[Row]:
    """The rows of an install of some size."""
    total = size.namespaces * size.each
    place = size.namespaces, size.each, size.environments * size.each, PACE, progress.say
    try:
        async with installed(*place) as install:
            by_hand = await _until_asleep(install, by_hand=True)
            known = _memory(install)
        async with installed(*place, by_hand=False) as install:
            took = await _until_asleep(install, by_hand=False)
            found = [
                _row(
                    f"one set over {total:,} Deployments → all pools made and asleep", took, by_hand
                )
            ]
            found.append(_more(install, known))  # here, as by hand: what follows has no counterpart
            found.append(await _idle(install, size))
            found.append(await _edit(install, total))
            found.append(await _environments(install, size))
            return found
    except NodeError as error:
        return [unmeasured(f"a set of {total:,} pools", HOW, str(error), "", "sets")]


def _template(**spec: Any) -> dict[str, Any]:
    given = warm_pool("any")["spec"] | IDLE | {"route": "Auto"} | spec
    return {"spec": {name: value for name, value in given.items() if name != "targetRef"}}


async def _until_asleep(install: Install, *, by_hand: bool) -> float:
    """Seconds from the label, or the set, until all pools sleep and are published."""
    with progress.step("operator and activators read what is there"):
        await install.at_rest()
    if not by_hand:
        await install.select(install.namespaces)
    began = time.monotonic()
    with progress.step(f"{len(install.pools):,} pools {'by hand' if by_hand else 'by a set'}"):
        if by_hand:
            await install.select(install.namespaces)
        else:
            spec = {"namespaceSelector": {"matchLabels": SELECTED}, "template": _template()}
            await install.client.create(WarmPoolSet({"metadata": {"name": NAME}, "spec": spec}))
        await install.all_asleep()
    return time.monotonic() - began


def _row(what: str, took: float, by_hand: float) -> Row:
    return Row(
        what,
        f"{HOW}; as many hand-written pools whose namespaces get the label: {amount(by_hand)}",
        amount(took),
        f"{took / by_hand:.2f} x of by hand",
        1,
        "≤ 1.2 x",
        took / by_hand,
        took <= 1.2 * by_hand,
        AGAIN,
    )


async def _idle(install: Install, size: Size) -> Row:
    await asyncio.sleep(size.calm)
    with progress.step(f"nothing happens for {size.idle:.0f} s"), install.stretch() as stretch:
        await asyncio.sleep(size.idle)
    share = stretch.cpu["operator"] / stretch.seconds
    calls = {k: n for k, n in stretch.calls("operator").items() if "leases" not in k}
    said = ", ".join(f"{n} {kind}" for kind, n in calls.items()) or "no call"
    return Row(
        "the operator with a set while nothing happens",
        f"{HOW}; {len(install.pools):,} pools, {size.idle:.0f} s",
        f"{100 * share:.2f} % of a core",
        f"{said} beside Leases and watches",
        1,
        "no API call",
        None,
        not calls,
        AGAIN,
    )


async def _edit(install: Install, total: int) -> Row:
    order = [{"matchLabels": {"tier": tier}} for tier in TIERS]
    patch = {"spec": {"template": _template(holdTimeout="44s", dependsOn=order)}}
    began = time.monotonic()
    with progress.step("the template is edited"), install.stretch() as stretch:
        await install.client.patch(WarmPoolSet, NAME, patch, patch_type=PatchType.MERGE)
        for namespace in install.namespaces:

            async def follow(namespace: str = namespace) -> bool:
                listed = install.client.list(WarmPool, namespace=namespace)
                return all([o["spec"].get("holdTimeout") == "44s" async for o in listed])

            await until(f"{namespace} follows", follow, every=0.5)
    took = time.monotonic() - began
    raised = sum(
        n for what, n in stretch.calls("operator", "activator").items() if "/scale" in what
    )
    return Row(
        f"edit of the template → all {total:,} pools follow",
        f"{HOW}; operator {1000 * stretch.cpu['operator'] / total:.1f} ms of CPU a pool",
        amount(took),
        f"{raised} scales written",
        1,
        "none woken",
        raised,
        raised == 0,
        AGAIN,
    )


async def _environments(install: Install, size: Size) -> Row:
    """Environments of three tiers: a request to one web app of each, all at once."""
    install.kubelet.per_second, install.kubelet.takes = 1e6, 0
    webs = [Pool(name, f"{name}-00") for name in install.namespaces[: size.environments]]
    led = {pool: await install.endpoints(pool) for pool in webs}
    with progress.step(f"{len(webs)} environments wake at once"), install.stretch() as went:
        found = await asyncio.gather(*(wake_up(install, pool, led[pool]) for pool in webs))
    ready = {
        r.name.rsplit("-", 2)[0]: r.began
        for r in went.requests
        if r.user == "kubelet" and r.what == "pods/status" and r.code < 400
    }
    took = Samples.of(wake.seconds for wake in found).spread
    lost = sum(not wake.answered for wake in found)
    wrong = sum(not _in_order(pool, ready) for pool in webs)
    return Row(
        f"{len(webs)} environments of three tiers woken at once by a request to each",
        f"{HOW}; pods start at once; request to answer {took}",
        f"{lost} of {len(webs)} not answered",
        f"{wrong} out of order",
        len(webs),
        "none lost, order kept",
        lost + wrong,
        lost + wrong == 0,
        AGAIN,
    )


def _in_order(web: Pool, ready: dict[str, Any]) -> bool:
    """Whether a database and an API were Ready before the web app of an environment."""
    db, api, app = (ready.get(f"{web.name[:-2]}{n:02d}") for n in (2, 1, 0))
    return None not in (db, api, app) and db <= api <= app


def _memory(install: Install) -> float:
    pids = [install.operator_pid, *(a.process.pid for a in install.activators)]
    return sum(resident_mib(pid, "VmHWM") for pid in pids)


def _more(install: Install, known: float) -> Row:
    now = _memory(install)
    return Row(
        "memory of operator and activators with a set",
        f"{HOW}; peaks; with hand-written pools {known:.0f} MiB",
        f"{now:.0f} MiB",
        f"{now / known:.2f} x of by hand",
        1,
        "≤ 1.1 x",
        now / known,
        now <= 1.1 * known,
        AGAIN,
    )


def _own_size(given: Sequence[str]) -> None:
    namespaces, each = map(int, given)
    for row in asyncio.run(measured(Size(namespaces, each, 30.0, min(100, namespaces)))):
        print(f"{row.what}\n    {row.median}; {row.spread} [{row.goal}]\n    {row.how}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _own_size(sys.argv[1:])
    else:
        main(rows)
