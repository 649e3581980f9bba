"""Some minutes in which everything happens that Prometheus can be told of."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from e2e.conftest import PET_SERVICES, cluster_ip
from e2e.kit import (
    APP_IMAGE,
    NO_IMAGE,
    App,
    Kubectl,
    Object,
    config_map,
    eventually,
    pool,
    stamp,
    wall,
    workload,
)
from e2e.patience import patience

BUDGET = {"limit": "1000"}
SOON = {"idleAfter": "4s"}
LOOK_EVERY = 0.5


def seconds_from_now(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


@dataclass
class Story:
    """Pools in one namespace, each with a fate of its own, and visitors of the pet.

    One look at the cluster serves all fates: looking is what costs most here.
    """

    kubectl: Kubectl
    scraped: Callable[[str], Any]
    """What Prometheus has of a selector: what happens before it has found a pod, it never sees."""
    names: list[str] = field(default_factory=list)
    _pools: dict[str, Object] = field(default_factory=dict)

    async def play(self) -> None:
        """Let all of it happen at once."""
        looking = asyncio.create_task(self._look())
        try:
            async with httpx.AsyncClient(timeout=150, trust_env=False) as http:
                fates: list[Callable[[httpx.AsyncClient], Awaitable[Any]]] = [
                    self._guests_stay_as_an_override_ends,
                    self._a_window_opens_cold,
                    self._more_requests_than_may_wait,
                    self._a_budget_is_spent,
                    self._a_pool_that_nobody_asks,
                    self._a_visit,
                ]
                await asyncio.gather(*(fate(http) for fate in fates))
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    # --- fates ---

    async def _guests_stay_as_an_override_ends(self, http: httpx.AsyncClient) -> None:
        """Warm by an override as a window opens, and in use as the override is about to end."""
        opens = seconds_from_now(60)  # a busy machine has 56 s for the pod, then it is late
        windows = [
            {"name": "pitch", "start": wall(opens), "end": wall(opens + timedelta(minutes=2)),
             "replicas": 1},
            {"name": "standup", "schedule": "0 18 * * *", "duration": "30m", "replicas": 2},
        ]  # fmt: skip
        until = stamp(seconds_from_now(540))
        await self._start(
            "guests",
            windows=windows,
            lead="15s",
            **SOON,
            budget=BUDGET,
            override={"mode": "Warm", "until": until},
        )
        await self._until("guests", lambda status: status.get("phase") == "Warm")
        asking = asyncio.create_task(self._ask(http, "guests", ms=20_000))
        await self._until("guests", lambda status: _opening(status).get("early"))
        assert (await asking).status_code == 200

    async def _a_window_opens_cold(self, _: httpx.AsyncClient) -> None:
        opens = seconds_from_now(30)
        window = {"name": "gala", "start": wall(opens), "end": wall(opens + timedelta(minutes=9))}
        await self._start(
            "gala",
            image=NO_IMAGE,
            windows=[{**window, "replicas": 1}],
            lead="20s",
            **SOON,
        )
        await self._until("gala", lambda status: _opening(status).get("cold"))
        await self._run("set", "image", "deployment/gala", f"app={APP_IMAGE}")
        await self._until("gala", lambda status: _opening(status).get("early"))

    async def _more_requests_than_may_wait(self, http: httpx.AsyncClient) -> None:
        await self._start("crowd", **SOON, holdTimeout="2s")
        await self._asleep("crowd")
        await self._run("set", "image", "deployment/crowd", f"app={NO_IMAGE}")
        answers = await asyncio.gather(*(self._ask(http, "crowd") for _ in range(6)))
        assert {answer.status_code for answer in answers} == {503}

    async def _a_budget_is_spent(self, http: httpx.AsyncClient) -> None:
        await self._start("spender", **SOON, budget={"limit": "0.001"})
        await self._asleep("spender")
        await self._until("spender", lambda status: status.get("reason") == "Budget")
        assert (await self._ask(http, "spender")).status_code == 503

    async def _a_pool_that_nobody_asks(self, _: httpx.AsyncClient) -> None:
        """Up for long enough to be found by its endpoints, and left alone from then on."""
        override = {"mode": "Warm", "until": stamp(seconds_from_now(patience()))}
        await self._start("quiet", **SOON, override=override)
        await eventually(
            "found by its endpoints",
            lambda: self.scraped('up{job="endpoints",service="quiet"}'),
        )
        ended = {"spec": {"override": None}}
        await asyncio.to_thread(self.kubectl.patch, "warmpool", "quiet", ended)
        await self._asleep("quiet")

    async def _a_visit(self, http: httpx.AsyncClient) -> None:
        """The pet, woken from zero: a login, a meal, speech that is asked for twice, a talk."""
        # However slowly pods start on a busy machine, nobody is turned away: that were an alert.
        patient = json.dumps({"spec": {"holdTimeout": "140s"}})
        await self._run("patch", "warmpool", *PET_SERVICES, "--type=merge", "-p", patient)
        base = f"http://{await asyncio.to_thread(cluster_ip, self.kubectl, 'gateway')}"
        headers = {"Authorization": f"demo-{uuid.uuid4().hex[:6]}"}

        async def visit(method: str, path: str, sent: Object | None = None) -> None:
            for _ in range(5):  # feed waits for auth no longer than 20 s
                answer = await http.request(method, f"{base}{path}", headers=headers, json=sent)
                if answer.status_code != 503:
                    break
            assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
            await asyncio.sleep(2.5)  # so that scrapes see each counter grow

        for method, path in (
            ("GET", "/token?code=demo"),
            ("GET", "/home"),
            ("POST", "/get_feed"),
            ("POST", "/feed"),
        ):
            await visit(method, path)
        # The same words until the pod is found, which takes Prometheus some 5 s from its start.
        for _ in range(20):
            await visit("POST", "/voice", {"text": "おはよう"})
            if self.scraped("kotatsu_voice_synthesis_seconds_count"):
                break
        for _ in range(2):
            await visit("POST", "/voice", {"text": "おなかがすいたよ"})
        await visit("POST", "/talk", {"message": "げんき？"})

    def end(self) -> None:
        """Take the story's own pools away; the pet stays."""
        gone = ("--ignore-not-found", "--wait=false")
        self.kubectl("delete", "warmpool", *self.names, *gone)
        self.kubectl("delete", "deployment,service", *self.names, *gone)

    # --- what fates are made of ---

    async def _start(self, name: str, *, image: str = APP_IMAGE, **spec: Any) -> None:
        self.names.append(name)
        objects = [config_map(), *workload(name, image=image), pool(name, **spec)]
        await asyncio.to_thread(self.kubectl.apply, *objects)

    async def _run(self, *command: str) -> str:
        return await asyncio.to_thread(self.kubectl, *command)

    async def _ask(self, http: httpx.AsyncClient, name: str, ms: int = 0) -> httpx.Response:
        address = await asyncio.to_thread(cluster_ip, self.kubectl, name)
        query = {"request_id": uuid.uuid4().hex, "ms": ms}
        return await http.post(f"http://{address}/echo", params=query)

    async def _until(self, name: str, holds: Callable[[Object], Any]) -> None:
        await eventually(
            f"what is awaited of {name}",
            lambda: holds((self._pools.get(name) or {}).get("status") or {}),
        )

    async def _asleep(self, name: str) -> None:
        await self._until(name, lambda status: status.get("phase") == "Asleep")

    async def _look(self) -> None:
        while True:
            found = json.loads(await self._run("get", "warmpools", "-o", "json"))["items"]
            self._pools = {one["metadata"]["name"]: one for one in found}
            await asyncio.sleep(LOOK_EVERY)


def _opening(status: Object) -> Object:
    return status.get("lastOpening") or {}


async def pet_asleep(kubectl: Kubectl) -> None:
    """Wait until all of the pet sleeps."""
    for name in PET_SERVICES:
        await App(name, kubectl).asleep()
