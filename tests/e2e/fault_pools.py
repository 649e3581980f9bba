"""Three pools of one namespace that are in use when a fault occurs; and what must hold then.

Two of them get a steady stream of requests, one gets a request now and then and is parked before it
sleeps. The requests and the moment of the fault are random.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from e2e.kit import App, Object, asleep_override, stamp
from e2e.operators import Operators, put_clock
from e2e.pools_of_namespace import PoolsOfNamespace
from e2e.stream import Stream
from lightkube.types import PatchType

from kotatsu_node import Node
from kotatsu_operator.kube.objects import Deployment

SPEC: Object = {
    "holdTimeout": "240s",
}

PATIENCE = 300.0
"""Seconds that a client waits: longer than any fault lasts, and than anybody is held."""

LEDGER_INTERVAL = 60.0
"""Seconds between two entries of the ledger: what a crash may cost for each pod that went."""


@dataclass
class Course:
    """What a pool was asked for, and how that must end."""

    app: App
    asked: str
    unended: Callable[[], str]
    """What is not as the spec says yet; empty in the end."""


@dataclass
class FaultPools(PoolsOfNamespace):
    """The namespace, the pools in it, and the operator that looks after them."""

    recorder: str
    operators: Operators
    node: Node | None
    leases: str
    """Another namespace, for the Lease of a second operator."""
    clock: Path
    """The file with what is wrong with the operator's clock, in seconds."""
    busy: App = field(init=False)
    wide: App = field(init=False)
    quiet: App = field(init=False)
    operator: asyncio.subprocess.Process = field(init=False)
    recovered: datetime | None = None
    """When what was killed was back; None while it is away."""

    @property
    def apps(self) -> list[App]:
        """The three."""
        return [self.busy, self.wide, self.quiet]

    async def operate(self) -> None:
        """Start the operator."""
        self.operator = await self.operators.start(KOTATSU_E2E_CLOCK=str(self.clock))

    def put_clock(self, ahead: float) -> None:
        """Let the operator's clock be wrong by so many seconds."""
        put_clock(self.clock, ahead)

    # --- asking ---

    async def edit_target(self, app: App, container: Object) -> None:
        """Edit the container of a pool's Deployment."""
        template = {"spec": {"containers": [{"name": "app", **container}]}}
        await self.client.patch(
            Deployment,
            app.name,
            {"spec": {"template": template}},
            namespace=self.kubectl.namespace,
            patch_type=PatchType.STRATEGIC,
        )

    async def begin(self, streams: Mapping[str, Stream], chance: random.Random) -> list[Course]:
        """Begin a transition of each pool."""
        return [
            await self._sleep(self.busy),
            await chance.choice((self._sleep, self._widen))(self.wide),
            await chance.choice((self._visit, self._open))(streams[self.quiet.name], chance),
        ]

    async def _sleep(self, app: App) -> Course:
        generation = await self.ask_for_sleep(app)

        def unended() -> str:
            slept = self.has_slept(app, generation)
            return self.not_awake(app, 1) if slept else "has not slept"

        return Course(app, "sleep, and wake for its requests", unended)

    async def _widen(self, app: App) -> Course:
        override = warm(2, timedelta(minutes=10))
        generation = await self.edit(app, {"override": override})

        def unended() -> str:
            seen = self.status(app, generation)
            return self.not_awake(app, 2) if seen else "the edit has not been seen"

        return Course(app, "two replicas", unended)

    async def _visit(self, stream: Stream, _: random.Random) -> Course:
        visit = asyncio.create_task(self._send_one(stream))

        def unended() -> str:
            return self.not_asleep(stream.app) if visit.done() else "has not answered"

        return Course(stream.app, "one request", unended)

    async def _send_one(self, stream: Stream) -> None:
        async with httpx.AsyncClient(timeout=stream.timeout, trust_env=False) as http:
            await stream.ask("visit", lambda name, _: stream.app.post(http, name, stream.ms))

    async def _open(self, stream: Stream, chance: random.Random) -> Course:
        lasting = timedelta(seconds=chance.uniform(3, 8))
        generation = await self.edit(stream.app, {"override": warm(2, lasting)})
        ends = datetime.now(UTC) + lasting

        def unended() -> str:
            if datetime.now(UTC) < ends or not self.status(stream.app, generation):
                return "is still open"
            return self.not_asleep(stream.app)

        return Course(stream.app, "a short window", unended)


def warm(replicas: int, lasting: timedelta) -> Object:
    """An override for so many replicas, for so long."""
    until = stamp(datetime.now(UTC) + lasting)
    return {**asleep_override(), "mode": "Warm", "replicas": replicas, "until": until}
