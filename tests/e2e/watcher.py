"""Watches a namespace beside the operator, and measures what its pods have cost."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from e2e.kit import Object, parse
from e2e.patience import patience

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import Unreachable
from kotatsu_operator.kube.objects import KINDS

log = logging.getLogger(__name__)

WATCHED = {
    kind: type(kind, (KINDS[kind],), {})
    for kind in ("WarmPool", "Deployment", "Pod", "EndpointSlice")
}
"""Classes of their own: of the operator's, `Kube` keeps only the fields that the operator uses."""


@dataclass
class Life:
    """A pod's time on its node: when it came and when it went, each between two moments."""

    app: str
    came: tuple[datetime, datetime]
    gone: tuple[datetime, datetime] | None = None

    def seconds(self, begin: datetime, end: datetime) -> tuple[float, float]:
        """Least and most seconds that it was there between two moments."""
        went = self.gone or (end, end)
        least = min(went[0], end) - max(self.came[1], begin)
        most = min(went[1], end) - max(self.came[0], begin)
        return max(0.0, least.total_seconds()), max(0.0, most.total_seconds())


@dataclass
class NamespaceWatcher:
    """The objects of a namespace as they are now, by kind and name, and every pod there has been.

    A watch that breaks is begun again; what went meanwhile went some time in between.
    """

    kube: Kube
    namespace: str
    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: defaultdict(dict))
    lives: dict[str, Life] = field(default_factory=dict)
    entered: dict[str, datetime] = field(default_factory=dict)
    """When each pool's costs were last seen to change, by this clock: the operator's may be set."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _synced: set[str] = field(default_factory=set)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> "NamespaceWatcher":
        self._tasks = [asyncio.create_task(self._follow(kind)) for kind in WATCHED]
        await self.sees("everything", lambda: len(self._synced) == len(WATCHED), 30)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.kube.close()

    async def sees(self, what: str, holds: Callable[[], Any], within: float) -> Any:
        """Wait until something is so; AssertionError with the last value if it does not come."""
        value = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within := patience(within)):
                while not (value := holds()):
                    for task in self._tasks:
                        if task.done():
                            task.result()  # it has failed: so does the test
                    self._changed.clear()
                    with contextlib.suppress(TimeoutError):  # some things come with time alone
                        async with asyncio.timeout(0.5):
                            await self._changed.wait()
        if not value:
            raise AssertionError(f"not within {within:.0f} s: {what} (last: {value!r})")
        return value

    def pods(self, app: str) -> list[Object]:
        """Pods of an app that are on a node or waiting for one, also those that are ending."""
        return [
            p
            for p in self.objects["Pod"].values()
            if p["metadata"]["labels"].get("app") == app
            and p["status"].get("phase") not in ("Succeeded", "Failed")
        ]

    def pod_seconds(self, app: str, begin: datetime, end: datetime) -> tuple[float, float]:
        """Least and most seconds that the pods of an app were on a node, all together."""
        spans = [life.seconds(begin, end) for life in self.lives.values() if life.app == app]
        return sum(span[0] for span in spans), sum(span[1] for span in spans)

    async def _follow(self, kind: str) -> None:
        known = self.objects[kind]
        heard = datetime.now(UTC)
        while True:
            try:
                async for change, obj in self.kube.follow(WATCHED[kind], self.namespace):
                    now = datetime.now(UTC)
                    if change in ("PART", "LIST"):
                        for item in obj["items"]:
                            self._keep(kind, item, heard, now)
                    if change == "LIST":
                        listed = (*obj["items"], *obj["before"])
                        for name in known.keys() - {o["metadata"]["name"] for o in listed}:
                            self._gone(kind, known.pop(name), heard, now)
                        self._synced.add(kind)
                    elif change == "DELETED":
                        self._gone(kind, known.pop(obj["metadata"]["name"], obj), now, now)
                    elif change in ("ADDED", "MODIFIED"):
                        self._keep(kind, obj, now, now)
                    self._changed.set()
            except (TimeoutError, *Unreachable):
                pass
            heard = datetime.now(UTC)
            await asyncio.sleep(0.1)

    def _keep(self, kind: str, obj: Object, heard: datetime, now: datetime) -> None:
        meta, status = obj["metadata"], obj.get("status") or {}
        log.debug("%s %s: %s", kind, meta["name"], gist(kind, obj))
        before = (self.objects[kind].get(meta["name"]) or {}).get("status") or {}
        if kind == "WarmPool" and status.get("cost") != before.get("cost"):
            self.entered[meta["name"]] = now
        self.objects[kind][meta["name"]] = obj
        if kind != "Pod":
            return
        for condition in status.get("conditions") or ():
            if (condition["type"], condition["status"]) == ("PodScheduled", "True"):
                since = parse(condition["lastTransitionTime"])  # cut to the second
                came = (since, since + timedelta(seconds=1))
                life = Life(meta.get("labels", {}).get("app", ""), came)
                self.lives.setdefault(meta["uid"], life)
        if status.get("phase") in ("Succeeded", "Failed"):
            self._gone(kind, obj, heard, now)
        elif life := self.lives.get(meta["uid"]):
            life.gone = None  # a kubelet may overrule whoever has said that the pod is over

    def _gone(self, kind: str, obj: Object, heard: datetime, now: datetime) -> None:
        log.debug("%s %s: gone", kind, obj["metadata"]["name"])
        life = self.lives.get(obj["metadata"]["uid"]) if kind == "Pod" else None
        if life is not None and life.gone is None:
            life.gone = (heard, now)


def gist(kind: str, obj: Object) -> str:
    """What matters of an object, for the log."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    if kind == "WarmPool":
        return f"{status.get('phase')} {status.get('route')} {status.get('override')}"
    if kind == "Deployment":
        return f"{spec.get('replicas')} replicas"
    if kind == "EndpointSlice":
        ends = [(e["addresses"], e["conditions"]) for e in obj.get("endpoints") or ()]
        return f"{ends} {meta.get('annotations')}"
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    ending = "ending" if "deletionTimestamp" in meta else ""
    return f"{status.get('podIP')} {status.get('phase')} {conditions.get('Ready')} {ending}"
