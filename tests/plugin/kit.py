"""Running the plugin inside the tests: a pool out of a manifest, a terminal made of paper."""

import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from plugin.setups import Session

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.cli import run
from kotatsu_demo_mode.errors import DemoModeError, ForbiddenError, NotFoundError
from kotatsu_demo_mode.installs import SELECTOR
from kotatsu_demo_mode.pools import Pool, read_pool
from kotatsu_demo_mode.shell import Shell
from kotatsu_demo_mode.terminal import Terminal
from kotatsu_operator.core.schema import joined
from tests.operator.core.values import annotations_of

PRICES = {"podPerHour": "1.84375", "parkedPodPerHour": "0.25125"}
"""What the operator writes of the pods below at 6.5 JPY per core-hour and 0.7 per GiB-hour."""
NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)  # 06:00 on a Wednesday in Tokyo


def deployment(name: str = "voice", cpu: str = "250m", memory: str = "320Mi") -> dict[str, Any]:
    """A Deployment whose pods request what the pet's voice does."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": "localhost/x",
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def operator(selector: str = "{}", ready: int = 1, replicas: int = 1) -> dict[str, Any]:
    """The Deployment of an operator that watches these namespaces; by default all."""
    made = deployment("kotatsu-operator")
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "operator"}
    made["metadata"] |= {"namespace": "kotatsu", "labels": labels}
    env = [{"name": SELECTOR, "value": selector}]
    made["spec"]["template"]["spec"]["containers"][0]["env"] = env
    made["spec"]["replicas"] = replicas
    return made | {"status": {"readyReplicas": ready}}


def lease(holder: str, age: float = 0.0) -> dict[str, Any]:
    """The spec of a Lease that was renewed some seconds before NOW, or after it."""
    renewed = (NOW - timedelta(seconds=age)).isoformat()
    lasts = {"leaseDurationSeconds": 300 if age == 0 else 10}
    return {"holderIdentity": holder, "renewTime": renewed, **lasts}


def costing(cost: dict[str, Any] | None = None, **inner: Any) -> dict[str, Any]:
    """A status with a ledger; `inner` is what only the operator reads of it, beside PRICES."""
    return {"cost": {"currency": "JPY"} | (cost or {}), "internal": {"cost": PRICES | inner}}


def manifest(name: str = "voice", **spec: Any) -> dict[str, Any]:
    """A WarmPool in Tokyo with prices; fields of its spec as keywords."""
    annotations = annotations_of(spec)
    return {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {
            "name": name,
            "labels": {"team": "pet"},
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {
            "targetRef": {"name": name},
            "timeZone": "Asia/Tokyo",
            **spec,
        },
        "status": costing(),
    }


def once(name: str, start: str, end: str, replicas: int = 5) -> dict[str, Any]:
    """A window with a start and an end."""
    return {"name": name, "start": start, "end": end, "replicas": replicas}


def cron(name: str, schedule: str, duration: str, replicas: int = 2) -> dict[str, Any]:
    """A repeating window."""
    return {"name": name, "schedule": schedule, "duration": duration, "replicas": replicas}


PITCH = once("final-pitch", "2026-11-25T10:00", "2026-11-25T12:00", 5)
PARKED = PITCH | {"mode": "Parked"}
EVENINGS = cron("rehearsal", "0 18 * * 1-5", "90m", 2)


def pool(
    name: str = "voice", status: dict[str, Any] | None = None, *, priced: bool = True, **spec: Any
) -> Pool:
    """A pool as the commands see it, with the prices that the operator has written."""
    status = status or {}
    if priced:
        status = joined(costing(), status)
    return read_pool(manifest(name, **spec) | {"status": status})


@dataclass
class Ran:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its answer as a value."""
        return json.loads(self.out)


class Cluster(Session):
    """An API server that holds these pools, each with a Deployment, and nothing else.

    It answers an apply, and stores what a JSON patch writes; it answers to no other write.
    """

    def __init__(self, *pools: dict[str, Any], operators: Sequence[dict[str, Any]] | None = None):
        self.operators = [operator()] if operators is None else [*operators]
        self.lease: dict[str, Any] | None = lease("kotatsu-operator-1")
        """The Lease of the operators; None if it may not be read."""
        self.labels: dict[str, dict[str, str]] = {}
        """The labels of namespaces."""
        self.histories: dict[str, Any] = {}
        """The WarmPoolHistories by name; a `DemoModeError` is raised."""
        self._pools = {raw["metadata"]["name"]: deepcopy(raw) for raw in pools}
        self.writes: list[Any] = []
        """The patches that were not dry runs."""
        for raw in self._pools.values():
            raw["metadata"] |= {"namespace": "demo", "generation": 1, "resourceVersion": "1"}

    def get(self, path: str, **_: str) -> dict[str, Any]:
        folder, _, name = path.rpartition("/")
        if name == "warmpools":
            return {"items": deepcopy(list(self._pools.values()))}
        if folder.endswith("/warmpools"):
            return deepcopy(self._pools[name])
        if folder.endswith("/warmpoolhistories") and name in self.histories:
            if isinstance(found := self.histories[name], Exception):
                raise found
            return deepcopy(found)
        if folder.endswith("/namespaces"):
            return {"metadata": {"labels": self.labels.get(name, {})}}
        if name == "deployments":
            return {"items": deepcopy(self.operators)}
        if folder.endswith("/leases"):
            if self.lease is None:
                raise ForbiddenError('leases "kotatsu-operator" is forbidden')
            return {"spec": self.lease}
        if folder.endswith("/deployments"):
            return deployment(name)
        raise NotFoundError(f"there is no {path}")

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise DemoModeError(f"may not create {path}")

    def patch(
        self,
        path: str,
        body: dict[str, Any] | list[dict[str, Any]],
        _: str,
        query: Mapping[str, str],
    ) -> dict[str, Any]:
        raw = self._pools[path.rpartition("/")[2]]
        if isinstance(body, list):
            made = self._patched(raw, body)
            if "dryRun" not in query:
                self.writes.append(body)
                raw.update(made)
            return deepcopy(made)
        if "dryRun" not in query:
            self.writes.append(body)
        if "spec" in body and isinstance(raw["spec"], dict):
            annotations = body["metadata"].get("annotations", {})
            raw = raw | {
                "metadata": raw["metadata"] | {"annotations": annotations},
                "spec": raw["spec"] | body["spec"],
            }
        return deepcopy(raw)

    def _patched(self, raw: dict[str, Any], body: list[dict[str, Any]]) -> dict[str, Any]:
        made = deepcopy(raw)
        for operation in body:
            *folders, last = operation["path"].split("/")[1:]
            place: Any = made
            for folder in folders:
                place = place[folder]
            last = last.replace("~1", "/")
            if operation["op"] == "add":
                place[last] = operation["value"]
            elif place[last] != operation["value"]:
                raise DemoModeError("test failed")
        made["metadata"]["generation"] += 1
        return made

    def change(self, name: str, **spec: Any) -> None:
        """Another client changes a pool."""
        self._pools[name]["spec"] |= spec
        self._pools[name]["metadata"]["generation"] += 1

    def annotations(self, name: str) -> dict[str, Any]:
        """The annotations of a pool."""
        return deepcopy(self._pools[name]["metadata"].get("annotations") or {})

    def windows(self, name: str) -> list[dict[str, Any]]:
        """The windows of a pool."""
        return deepcopy(self._pools[name]["spec"].get("windows") or [])


def shell_of(cluster: object, terminal: Terminal | None = None, **more: Any) -> Shell:
    """A shell whose every session is with this cluster."""
    nowhere = Terminal(io.StringIO(), io.StringIO())
    shell = Shell(terminal or nowhere, more.pop("stdin", io.StringIO()), **more)
    shell.api = lambda _: cast(Api, cluster)  # type: ignore[method-assign]
    return shell


def demo_mode(
    *words: str,
    now: datetime = NOW,
    stdin: str | io.StringIO = "",
    width: int = 100,
    is_live: bool = False,
    kubectl: str = "kubectl",
    cluster: object = None,
    sleep: Callable[[float], None] = lambda _: None,
) -> Ran:
    """Run a command in this process; each look at the clock finds it five seconds later."""
    out, err, looks = io.StringIO(), io.StringIO(), itertools.count()
    terminal = Terminal(out, err, is_live, width)
    more: dict[str, Any] = {
        "stdin": io.StringIO(stdin) if isinstance(stdin, str) else stdin,
        "user": "ann",
        "clock": lambda: now + timedelta(seconds=5) * next(looks),
        "sleep": sleep,
    }
    with_kubectl = Shell(terminal, kubectl=kubectl, **more)
    code = run(words, with_kubectl if cluster is None else shell_of(cluster, terminal, **more))
    return Ran(code, out.getvalue(), err.getvalue())


def write_manifest(path: Path, *objects: dict[str, Any]) -> str:
    """Write manifests as JSON, which is YAML too; the file's name."""
    path.write_text("\n---\n".join(json.dumps(o) for o in objects))
    return str(path)
