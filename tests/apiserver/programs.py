"""Operator and activator as a pod of the chart runs them, in threads and tasks of this process.

They get their settings from the pod's environment, and their permissions from the token of the
pod's account.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import aiohttp
import kopf
from apiserver import app
from apiserver.keeper import NODE
from apiserver.network import PodLoop, real
from apiserver.volumes import mounted
from e2e.kit import Object
from lightkube import KubeConfig
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, User
from lightkube.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ServiceAccountToken
from prometheus_client import CollectorRegistry

from kotatsu_common.settings import load
from kotatsu_operator.__main__ import options_of, scope_of
from kotatsu_operator.activator.__main__ import identity, limiting, reading
from kotatsu_operator.activator.app import Activator
from kotatsu_operator.activator.feature import FEATURES
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.controller.app import Operator
from kotatsu_operator.controller.feature import Setup, features_of
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.core.protocol import ACTIVATOR, LOOKED_AT, OPERATOR
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.connection import Connection
from kotatsu_operator.runtime.health import Checks, Named, start_admin
from kotatsu_operator.runtime.installed import installed
from kotatsu_operator.runtime.settings import ActivatorSettings, OperatorSettings

CLOSING_SECONDS = 0.05
"""For an event loop to end TLS on the connections that were closed."""

Clock = Callable[[], datetime]


def real_time() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


@dataclass
class Ahead:
    """A clock that is ahead of this machine's, by as much as a test says."""

    by: timedelta = timedelta()

    def __call__(self) -> datetime:
        return real_time() + self.by

    def reach(self, at: datetime) -> None:
        """Let it be this late."""
        self.by = at - real_time()


@dataclass
class Fate:
    """The write after which the operator of a namespace is killed; then it has none any more.

    `phase Draining` is a status with that phase, `scale 0` that number of replicas. Empty: none.
    """

    last_write: str = ""

    def is_met_by(self, request: aiohttp.ClientRequest, content: bytes) -> bool:
        """Whether this was the last write."""
        if not self.last_write or _write(request, content) != self.last_write:
            return False
        self.last_write = ""
        return True


def _write(request: aiohttp.ClientRequest, content: bytes) -> str:
    """What a request writes, as Fate has it; empty for anything else."""
    if request.method in ("PATCH", "PUT"):
        body = json.loads(content)
        if request.url.path.endswith("/status"):
            return f"phase {body['status'].get('phase')}"
        if request.url.path.endswith("/scale"):
            return f"scale {body['spec'].get('replicas')}"
    return ""


@dataclass(frozen=True)
class Line:
    """The connections of a program to the API server: none works after it was killed."""

    killed: threading.Event
    fate: Fate

    async def __call__(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request. Raises aiohttp.ClientConnectionError after the kill."""
        if not self.killed.is_set():
            response = await send(request)
            body = request.body
            content = body if isinstance(body, bytes) else await body.as_bytes()
            if response.ok and self.fate.is_met_by(request, content):
                self.killed.set()
            if not self.killed.is_set():
                return response
            response.close()
        raise aiohttp.ClientConnectionError("the program was killed")


@dataclass(frozen=True)
class Programs:
    """What runs in the pods of a namespace; `clock` and `fate` are the operator's."""

    admin: Any
    """An administrator's client, which asks for the tokens of the pods."""
    cluster: Cluster
    clock: Clock = real_time
    fate: Fate = field(default_factory=Fate)

    @asynccontextmanager
    async def run(
        self, pod: Object, address: str, killed: Callable[[], None]
    ) -> AsyncIterator[Callable[[], str]]:
        """Run the program of a pod: the operator, an activator, or else the app."""
        match pod["spec"]["containers"][0]["name"]:
            case "operator":
                program = self._mounted_operator(pod, address, killed)
            case "activator":
                program = self._activator(pod, address)
            case _:
                program = app.run(pod, address)
        async with program as why_not_ready:
            yield why_not_ready

    async def finish(self, pod: Object, address: str) -> bool:
        """Run a Job of the chart, as a process; whether it has succeeded."""
        config = await self._account(pod)
        assert config.user is not None
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(
                {
                    "current-context": "account",
                    "clusters": [{"name": "account", "cluster": _as_dict(config.cluster)}],
                    "users": [{"name": "account", "user": {"token": config.user.token}}],
                    "contexts": [
                        {"name": "account", "context": {"cluster": "account", "user": "account"}}
                    ],
                },
                file,
            )
            file.flush()
            _, *arguments = pod["spec"]["containers"][0]["command"]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                env=os.environ | environment(pod, address) | {"KUBECONFIG": file.name},
            )
            return await process.wait() == 0

    @asynccontextmanager
    async def _mounted_operator(
        self, pod: Object, address: str, tell: Callable[[], None]
    ) -> AsyncIterator[Callable[[], str]]:
        settings = load(OperatorSettings, environment(pod, address))
        async with mounted(self.admin, pod) as root:
            at_root = {"calendar_folder": root / settings.calendar_folder.relative_to("/")}
            if settings.notifications:
                at_root["notifications"] = str(root / Path(settings.notifications).relative_to("/"))
            settings = settings.model_copy(update=at_root)
            async with self._operator(settings, pod, address, tell) as why_not_ready:
                yield why_not_ready

    @asynccontextmanager
    async def _operator(
        self,
        settings: OperatorSettings,
        pod: Object,
        address: str,
        tell: Callable[[], None],
    ) -> AsyncIterator[Callable[[], str]]:
        config = await self._account(pod)
        stop, killed = threading.Event(), threading.Event()
        connection = Connection(config, OPERATOR, [Line(killed, self.fate)])
        operators: list[Operator] = []

        async def operate() -> None:
            _login.set(_info(config))
            kube = Kube(connection, scaled=settings.targets)
            registry = CollectorRegistry()
            # Without the console: its port is not of this address.
            setup = Setup(settings.model_copy(update={"console_port": 0}), registry, self.clock)
            features = features_of(setup)
            options = options_of(settings, features)
            operator = Operator(kube, scope_of(settings), registry, options, clock=self.clock)
            host, port = real(address, settings.port)
            checks = Checks(lambda: "", lambda: "", remark=lambda: operator.left_out)
            admin = start_admin(host, port, registry, checks)
            operators.append(operator)
            kill = asyncio.create_task(asyncio.to_thread(killed.wait))
            run = asyncio.create_task(operator.run(stop))
            await asyncio.wait([run, kill], return_when=asyncio.FIRST_COMPLETED)
            is_killed = killed.is_set()
            run.cancel()
            killed.set()
            stop.set()
            await asyncio.wait([run, kill])
            await asyncio.to_thread(_end, admin)
            await kube.close()
            await asyncio.sleep(CLOSING_SECONDS)
            if not (run.cancelled() or is_killed):
                run.result()

        # In a loop of its own: kopf ends its loop's other tasks.
        running = asyncio.create_task(asyncio.to_thread(_run_in_a_loop, operate))
        running.add_done_callback(lambda _: tell() if killed.is_set() else None)
        try:
            yield lambda: operators[0].why_not_ready if operators else "it starts"
            stop.set()
            await asyncio.shield(running)
        finally:
            killed.set()  # also if the test has ended: nobody waits for kopf's end
            await asyncio.shield(running)

    @asynccontextmanager
    async def _activator(self, pod: Object, address: str) -> AsyncIterator[Callable[[], str]]:
        settings = load(ActivatorSettings, environment(pod, address))
        killed = threading.Event()
        line = Line(killed, Fate())
        connection = Connection(await self._account(pod), ACTIVATOR, [line])
        kube = Kube(connection, scaled=settings.targets)
        registry = CollectorRegistry()
        me = identity(settings)
        read = reading(settings)
        metrics = ActivatorMetrics(registry)
        features = installed(FEATURES)
        limit = limiting(settings, me)
        activator = Activator(kube, me, metrics, limit, features=features, read=read)
        host, port = real(address, settings.port)
        checks = Checks(lambda: "", activator.why_not_ready)
        named = Named(LOOKED_AT, activator.asked, metrics.part)
        admin = start_admin(host, port, registry, checks, named)
        stop = asyncio.Event()
        running = asyncio.create_task(activator.run(stop, settings.drain_timeout))
        try:
            yield activator.why_not_ready
            stop.set()  # not if it is killed or the test has ended: nobody waits for a drain
            await running
        finally:
            killed.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for room in activator.rooms.values():
                room.publisher.close()
            await asyncio.to_thread(_end, admin)
            await kube.close()

    async def _account(self, pod: Object) -> SingleConfig:
        """What connects with the token of a pod's account."""
        account, meta = pod["spec"]["serviceAccountName"], pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        token = await self._token(meta["namespace"], account, bound)
        config = KubeConfig.from_one(cluster=self.cluster, user=User(token=token)).get()
        assert config is not None
        return config

    async def _token(self, namespace: str, account: str, bound: Object) -> str:
        asked = ServiceAccountToken(
            metadata=ObjectMeta(),
            spec=TokenRequestSpec(audiences=[], boundObjectRef=BoundObjectReference(**bound)),
        )
        given = await self.admin.create(asked, account, namespace=namespace)
        return str(given.status.token)


def _as_dict(cluster: Cluster) -> dict[str, str | None]:
    return {
        "server": cluster.server,
        "certificate-authority-data": cluster.certificate_auth_data,
    }


_login: ContextVar[kopf.ConnectionInfo] = ContextVar("login")
"""How kopf connects: outside of a pod it would read the environment, which all threads share."""


def login(**_: object) -> kopf.ConnectionInfo:
    """In the place of `kopf.login_with_kubeconfig`."""
    return _login.get()


def _info(config: SingleConfig) -> kopf.ConnectionInfo:
    assert config.user is not None
    return kopf.ConnectionInfo(
        server=config.cluster.server,
        ca_data=config.cluster.certificate_auth_data,
        token=config.user.token,
    )


def _end(server: WSGIServer) -> None:
    server.shutdown()
    server.server_close()


def _run_in_a_loop(work: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=PodLoop) as runner:
        runner.run(work())


def environment(pod: Object, address: str) -> dict[str, str]:
    """The variables of a pod's first container, as a kubelet fills them in."""
    (container, *_) = pod["spec"]["containers"]
    fields = {
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.name": pod["metadata"]["name"],
        "metadata.uid": pod["metadata"]["uid"],
        "status.podIPs": address,
        "spec.nodeName": NODE,
    }
    found = {}
    for entry in container["env"]:
        source = entry.get("valueFrom") or {}
        if field := source.get("fieldRef"):
            found[entry["name"]] = fields[field["fieldPath"]]
        elif resource := source.get("resourceFieldRef"):
            kind, name = resource["resource"].split(".")
            found[entry["name"]] = str(int(parse_quantity(container["resources"][kind][name])))
        else:
            found[entry["name"]] = entry.get("value", "")
    return found
