"""What the end-to-end tests are made of: kubectl, waiting, an app, a stream of requests."""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

CLONE_NEWNET = 0x40000000
HERE = Path(__file__).parent
APP_IMAGE = os.environ.get("KOTATSU_E2E_APP_IMAGE", "localhost/kotatsu-operator:dev")
Object = dict[str, Any]


class Kubectl:
    """kubectl in one namespace, as JSON."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", "-n", self.namespace, *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, kind: str, name: str = "", **labels: str) -> Object:
        selector = ["-l", ",".join(f"{k}={v}" for k, v in labels.items())] if labels else []
        return json.loads(self("get", kind, *([name] if name else []), *selector, "-o", "json"))

    def items(self, kind: str, **labels: str) -> list[Object]:
        return self.get(kind, "", **labels)["items"]

    def apply(self, *objects: Object) -> None:
        self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def patch(self, kind: str, name: str, patch: Object) -> None:
        self("patch", kind, name, "--type=merge", "-p", json.dumps(patch))


async def eventually(
    what: str, holds: Callable[[], Any], within: float = 60.0, every: float = 0.1
) -> Any:
    """Wait until `holds()` is truthy; returns it. Fails with the last value."""
    end = time.monotonic() + within
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what} (last: {value!r})")
        await asyncio.sleep(every)


def stamp(at: datetime) -> str:
    """An instant as the API writes it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def wall(at: datetime) -> str:
    """A wall-clock time in UTC, as spec.windows has it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse(text: str) -> datetime:
    """Read an instant of the API."""
    return datetime.fromisoformat(text)


def workload(name: str, recorder: str = "http://recorder", *, pooled: bool = True) -> list[Object]:
    """Deployment and Service of an app; `replicas` is never given for a pooled one."""
    labels = {"app": name}
    container: Object = {
        "name": "app",
        "image": APP_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/app/app.py"],
        "env": [
            {"name": "APP_NAME", "value": name},
            {"name": "RECORDER", "value": recorder if pooled else ""},
            # Empty: every address there is, of either family.
            {"name": "KOTATSU_HOST", "value": ""},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", "kill -USR1 1; sleep 6"]}}},
        "volumeMounts": [{"name": "app", "mountPath": "/app"}],
    }
    spec: Object = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "app", "configMap": {"name": "app"}}],
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "selector": labels,
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        },
    ]


def config_map() -> Object:
    """The app's script."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app"},
        "data": {"app.py": (HERE / "app.py").read_text()},
    }


def pool(name: str, **spec: Any) -> Object:
    """A WarmPool for an app."""
    return {
        "apiVersion": "kotatsu.dev/v1alpha1",
        "kind": "WarmPool",
        "metadata": {"name": name},
        "spec": {"targetRef": {"name": name}, **spec},
    }


def asleep_override(seconds: float = 300) -> Object:
    """An override that asks for sleep, different from every other."""
    return {
        "mode": "Asleep",
        "until": stamp(datetime.now(UTC) + timedelta(seconds=seconds)),
        "by": "test",
        "reason": uuid.uuid4().hex,
    }


@dataclass
class App:
    """One pooled app as the tests use it."""

    name: str
    kubectl: Kubectl
    address: str = ""
    sent: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}/echo"

    def pool(self) -> Object:
        return self.kubectl.get("warmpool", self.name)

    def status(self) -> Object:
        return self.pool().get("status", {})

    def phase(self) -> str:
        return str(self.status().get("phase", ""))

    def replicas(self) -> int:
        return int(self.kubectl.get("deployment", self.name)["spec"].get("replicas", 1))

    def pods(self) -> list[Object]:
        return self.kubectl.items("pods", app=self.name)

    def ready_pods(self) -> list[Object]:
        return [
            p
            for p in self.pods()
            if "deletionTimestamp" not in p["metadata"]
            and any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in p["status"].get("conditions", ())
            )
        ]

    def endpoints(self) -> dict[str, set[str]]:
        """Ready endpoint addresses of the Service: {"pods": …, "activator": …}."""
        found: dict[str, set[str]] = {"pods": set(), "activator": set()}
        for obj in self.kubectl.items(
            "endpointslices", **{"kubernetes.io/service-name": self.name}
        ):
            labels = obj["metadata"]["labels"]
            ours = labels.get("endpointslice.kubernetes.io/managed-by") == "activator.kotatsu.dev"
            for endpoint in obj.get("endpoints") or ():
                if endpoint["conditions"].get("ready"):
                    found["activator" if ours else "pods"] |= set(endpoint["addresses"])
        return found

    def conditions(self) -> dict[str, Object]:
        return {c["type"]: c for c in self.status().get("conditions", ())}

    async def asleep(self, within: float = 60) -> None:
        await eventually(
            f"{self.name} asleep",
            lambda: self.phase() == "Asleep" and self.replicas() == 0,
            within,
        )

    async def send(
        self,
        http: httpx.AsyncClient,
        ms: int = 0,
        headers: dict[str, str] | None = None,
        address: str = "",
    ) -> httpx.Response:
        """POST one request with an id of its own, to the Service or another address of it."""
        request_id = uuid.uuid4().hex
        self.sent.append(request_id)
        response = await http.post(
            f"http://{address or self.address}/echo",
            params={"request_id": request_id, "ms": ms},
            headers=headers,
        )
        assert response.status_code == 200, response.text
        body = response.json()
        assert (body["app"], body["request_id"]) == (self.name, request_id)
        return response


@dataclass
class Stream:
    """A steady stream of requests from some clients, half of them keeping their connection.

    With a network namespace the clients are there (on tools/node's second node).
    """

    app: App
    clients: int = 4
    pause: float = 0.05
    ms: int = 20
    address: str = ""
    namespace: Path | None = None
    done: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: bool = False

    async def __aenter__(self) -> "Stream":
        work = self._clients() if self.namespace is None else inside(self.namespace, self._clients)
        self._work = asyncio.create_task(work)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await self._work

    async def _clients(self) -> None:
        await asyncio.gather(*(self._client(keep=i % 2 == 0) for i in range(self.clients)))

    async def _client(self, *, keep: bool) -> None:
        headers = {} if keep else {"Connection": "close"}
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            while not self._stop:
                try:
                    await self.app.send(http, self.ms, headers, self.address)
                    self.done += 1
                except (httpx.HTTPError, AssertionError) as error:
                    self.failures.append(f"{datetime.now(UTC).time()} {error!r}")
                await asyncio.sleep(self.pause)


async def inside(namespace: Path, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a network namespace, in a thread and event loop of its own.

    Addresses must be given as numbers: names are resolved by other threads.
    """

    def run() -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        with namespace.open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        return asyncio.run(work())

    # A thread that is in a namespace is good for nothing else afterwards: no pool may keep it.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, run)


async def hits(http: httpx.AsyncClient, recorder: str) -> dict[str, int]:
    """How often each id was acted on, by the recorder."""
    response = await http.get(f"http://{recorder}/hits")
    return dict(response.json())


async def acted_once(app: App, recorder: str) -> None:
    """Assert that every request sent was acted on exactly once."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        counted = await hits(http, recorder)
    wrong = {i: counted.get(i, 0) for i in app.sent if counted.get(i, 0) != 1}
    assert not wrong, f"{len(wrong)} of {len(app.sent)} not acted on exactly once: {wrong}"


def kill_containers(pod: Object) -> int:
    """kill -9 the processes of a pod from outside, as a crash would; returns how many.

    Only possible where the pods' processes are this machine's own (tools/node).
    """
    uid = pod["metadata"]["uid"]
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            cgroup = (entry / "cgroup").read_text()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"pod{uid}" in cgroup and b"python" in command:
            os.kill(int(entry.name), signal.SIGKILL)
            killed += 1
    return killed


async def gather_ok(calls: list[Awaitable[Any]]) -> list[Any]:
    """Run all at once; fail with the first few errors."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    failed = [r for r in results if isinstance(r, BaseException)]
    assert not failed, f"{len(failed)} of {len(results)} failed, first: {failed[:3]!r}"
    return list(results)


async def ten_forced_sleeps(app: App, recorder: str) -> None:
    """Put an app to sleep ten times under a steady stream, which loses and repeats nothing."""
    async with Stream(app) as stream:
        for cycle in range(10):
            await eventually(f"{cycle}: awake", lambda: app.phase() == "Warm", within=60)
            app.kubectl.patch("warmpool", app.name, {"spec": {"override": asleep_override()}})
            await eventually(
                f"{cycle}: slept",
                lambda: (app.status().get("override") or {}).get("done"),
                within=90,
            )
    assert not stream.failures, f"{len(stream.failures)} of {stream.done}: {stream.failures[:5]}"
    assert stream.done > 100
    await acted_once(app, recorder)
