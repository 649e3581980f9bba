"""What the end-to-end tests are made of: kubectl, waiting, an app."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from e2e import api
from e2e.patience import PATIENCE, patience

from kotatsu_operator.core.formats import is_false
from tests.operator.core.values import annotations_of

HERE = Path(__file__).parent
APP_IMAGE = "localhost/kotatsu-operator:dev"
NO_IMAGE = "localhost/no-such-image:1"
"""With it a pod never becomes Ready."""
Object = dict[str, Any]


class Kubectl:
    """kubectl in one namespace, as JSON; `program` is it with what else it needs.

    What is looked at all the time is read without it.
    """

    def __init__(self, namespace: str, *program: str) -> None:
        self.namespace = namespace
        self._program = program or ("kubectl",)

    def __call__(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [*self._program, "-n", self.namespace, *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, kind: str, name: str = "", **labels: str) -> Object:
        selector = ",".join(f"{k}={v}" for k, v in labels.items())
        if path := api.path_of(kind, self.namespace):
            options = (option for option in self._program if option.startswith("--kubeconfig="))
            server = api.connect(next(options, "").removeprefix("--kubeconfig="))
            return dict(server.get(f"{path}/{name}" if name else path, selector))
        more = [*([name] if name else []), *(["-l", selector] if selector else [])]
        return dict(json.loads(self("get", kind, *more, "-o", "json")))

    def items(self, kind: str, **labels: str) -> list[Object]:
        return list(self.get(kind, "", **labels)["items"])

    def apply(self, *objects: Object) -> None:
        self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def patch(self, kind: str, name: str, patch: Object) -> None:
        self("patch", kind, name, "--type=merge", "-p", json.dumps(patch))


async def demo_mode(kubectl: Any, *words: str, code: int = 0, **environment: str) -> str:
    """Run the plugin as a person would, in the namespace of `kubectl`; its output."""

    def run() -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:{environment.get('PATH', os.environ['PATH'])}"
        return subprocess.run(
            ["kubectl", "demo-mode", *words, "-n", kubectl.namespace],
            env=os.environ | environment | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    done = await asyncio.to_thread(run)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def eventually(
    what: str, holds: Callable[[], Any], within: float = PATIENCE, every: float = 0.1
) -> Any:
    """Wait until `holds()` is truthy; returns it. Fails with the last value.

    `within` is in seconds of the reference machine (patience.py). Give another one only for what
    takes its time by itself, as a window that opens in a minute.
    """
    within = patience(within)
    end = time.monotonic() + within
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:.0f} s: {what} (last: {value!r})")
        await asyncio.sleep(every)


def is_ending(obj: Object) -> bool:
    """Whether an object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def stamp(at: datetime) -> str:
    """An instant as the API writes it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def wall(at: datetime) -> str:
    """A wall-clock time in UTC, as spec.windows has it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse(text: str) -> datetime:
    """Read an instant of the API."""
    return datetime.fromisoformat(text)


def workload(
    name: str,
    recorder: str = "http://recorder",
    *,
    pooled: bool = True,
    image: str = APP_IMAGE,
) -> list[Object]:
    """Deployment and Service of an app; `replicas` is never given for a pooled one."""
    labels = {"app": name}
    container: Object = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/app/app.py"],
        "env": [
            {"name": "APP_NAME", "value": name},
            {"name": "RECORDER", "value": recorder if pooled else ""},
        ],
        "ports": [
            {"name": "http", "containerPort": 8080},
            {"name": "h2c", "containerPort": 8081},
        ],
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
    """The app's scripts."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app"},
        "data": {name: (HERE / name).read_text() for name in ("app.py", "h2server.py")},
    }


def pool(name: str, **spec: Any) -> Object:
    """A WarmPool for an app."""
    annotations = annotations_of(spec)
    return {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {"name": name} | ({"annotations": annotations} if annotations else {}),
        "spec": {"targetRef": {"name": name}, **spec},
    }


def asleep_override(seconds: float = 300) -> Object:
    """An override that asks for sleep, different from every other."""
    return {
        "mode": "Asleep",
        "until": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(),
    }


@dataclass
class App:
    """One pooled app as the tests use it."""

    name: str
    kubectl: Kubectl
    address: str = ""
    kind: str = "deployment"
    sent: list[str] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)
    """Those of the sent that failed: nobody knows whether they were acted on."""

    @property
    def url(self) -> str:
        return f"http://{self.address}/echo"

    def pool(self) -> Object:
        return self.kubectl.get("warmpool", self.name)

    def status(self) -> Object:
        return self.pool().get("status", {})

    def inner(self) -> Object:
        """What the operator remembers of the pool."""
        found: Object = self.status().get("internal", {})
        return found

    def phase(self) -> str:
        return str(self.status().get("phase", ""))

    def replicas(self) -> int:
        return int(self.kubectl.get(self.kind, self.name)["spec"].get("replicas", 1))

    def pods(self) -> list[Object]:
        return self.kubectl.items("pods", app=self.name)

    def ready_pods(self) -> list[Object]:
        return [
            p
            for p in self.pods()
            if not is_ending(p)
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

    def failed(self, kind: str) -> Object | None:
        """The condition of this type if it is False; else None."""
        found = self.conditions().get(kind)
        return found if is_false(found) else None

    async def asleep(self, within: float = PATIENCE) -> None:
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
        return await self.post(http, request_id, ms, headers, address)

    async def post(
        self,
        http: httpx.AsyncClient,
        request_id: str,
        ms: int,
        headers: dict[str, str] | None = None,
        address: str = "",
        extensions: Object | None = None,
    ) -> httpx.Response:
        """POST one request and look at who has answered what."""
        response = await http.post(
            f"http://{address or self.address}/echo",
            params={"request_id": request_id, "ms": ms},
            headers=headers,
            extensions=extensions,
        )
        assert response.status_code == 200, f"{response.status_code}: {response.text}"
        self.check(response.json(), request_id)
        return response

    def check(self, body: Object, request_id: str) -> None:
        """Assert that an answer is this app's, and to this request."""
        assert (body["app"], body["request_id"]) == (self.name, request_id)


async def sleep_now(app: App, within: float = PATIENCE) -> None:
    """Force one sleep; requests may wake it again at once."""
    app.kubectl.patch("warmpool", app.name, {"spec": {"override": asleep_override()}})
    asked = app.pool()["metadata"]["generation"]

    def has_slept() -> bool:
        status = app.status()
        # Until the operator has seen it, the status tells of the sleep before.
        is_about_this = status.get("observedGeneration", 0) >= asked
        override = (status.get("internal") or {}).get("override") or {}
        return is_about_this and bool(override.get("done"))

    await eventually(f"{app.name} slept", has_slept, within)


async def sleep_again_and_again(app: "App") -> None:
    """Put an app to sleep whenever it is awake, for its clients to wake; until it is cancelled."""
    while True:
        await sleep_now(app, 180)
        await eventually("awake", lambda: app.phase() == "Warm", 180)


async def hits(http: httpx.AsyncClient, recorder: str) -> dict[str, int]:
    """How often each id was acted on, by the recorder."""
    response = await http.get(f"http://{recorder}/hits")
    return dict(response.json())


async def take_hits(ids: list[str], recorder: str) -> dict[str, int]:
    """How often each of these was acted on; the recorder forgets it, so it can go on for hours."""
    counted: dict[str, int] = {}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        for i in range(0, len(ids), 1000):
            response = await http.post(f"http://{recorder}/hits", json=ids[i : i + 1000])
            counted |= response.json()
    return counted


async def acted_once(app: App, recorder: str) -> None:
    """Assert that every request answered was acted on exactly once, and no other one twice."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        counted = await hits(http, recorder)
    wrong = {
        i: counted.get(i, 0)
        for i in app.sent
        if counted.get(i, 0) not in ((0, 1) if i in app.unanswered else (1,))
    }
    assert not wrong, f"{len(wrong)} of {len(app.sent)} not acted on exactly once: {wrong}"


def kill_containers(pod: Object, number: signal.Signals = signal.SIGKILL) -> int:
    """Send the processes of a pod a signal from outside; returns how many. SIGKILL is a crash.

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
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), number)
                killed += 1
    return killed


async def gather_ok(calls: list[Awaitable[Any]]) -> list[Any]:
    """Run all at once; fail with the first few errors."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    failed = [r for r in results if isinstance(r, BaseException)]
    assert not failed, f"{len(failed)} of {len(results)} failed, first: {failed[:3]!r}"
    return list(results)
