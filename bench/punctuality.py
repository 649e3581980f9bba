"""200 short windows: Ready before each opens, gone after it closes, and what is wasted."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cluster import Kubectl, NoClusterError, eventually, platform, pool, service_ip, wall
from coldstart import small_app
from http1 import Client, request
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import Deployment, Object, Pod
from kotatsu_operator.kube.views import pod_view
from report import Row
from samples import Samples
from topic import again, main, progress, unmeasured

LENGTH, EVERY = timedelta(seconds=5), timedelta(seconds=25)
SETTLE = 1.0
AGAIN = again("punctuality")
EARLY = "windows whose pod was Ready before they opened"
LATE = "scale at 0 after a window's end and the settle time"
WASTE = "warm seconds before a window opens and after it closes"
GOALS = {EARLY: "≥ 1: all of them", LATE: "≤ 2 s, all of them", WASTE: ""}


@dataclass
class Seen:
    """What a watch has shown of the pools' pods and scales, as Unix times."""

    ready: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lowered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _known: set[str] = field(default_factory=set)
    _replicas: dict[str, int] = field(default_factory=dict)

    def pod(self, _: str, change: str, obj: Object) -> None:
        """A pod has changed."""
        for item in obj["items"] if change == "LIST" else [obj]:
            view = pod_view(item)
            if view.ready and view.uid not in self._known:
                self._known.add(view.uid)
                self.ready[view.labels.get("app", "")].append(time.time())

    def deployment(self, _: str, change: str, obj: Object) -> None:
        """A Deployment has changed."""
        for item in obj["items"] if change == "LIST" else [obj]:
            name, replicas = item["metadata"]["name"], int(item["spec"].get("replicas", 0))
            if replicas == 0 and self._replicas.get(name, 0) > 0:
                self.lowered[name].append(time.time())
            self._replicas[name] = replicas


@dataclass(frozen=True)
class Window:
    """One window as it went, in seconds; NaN for what was never seen."""

    early: float
    """From Ready to the opening; below 0 when it opened cold."""
    late: float
    """From the end and the settle time until the scale was 0."""

    @property
    def wasted(self) -> float:
        """Warm seconds outside of the window."""
        return max(0.0, self.early) + self.late + SETTLE


async def rows(quick: bool) -> list[Row]:
    """Pools with a window each half minute, at different phases."""
    pools, each = (4, 1) if quick else (25, 8)
    how = (
        f"{pools * each} windows of {LENGTH.seconds} s for one pod: {pools} pools of a small app on"
        f" the node, each every {EVERY.seconds} s; the lead is learned, routeSettle {SETTLE:g} s"
    )
    try:
        with platform("windows", f"routeSettle={SETTLE:g}s") as kubectl:
            return _judged(await _measure(kubectl, pools, each), how)
    except NoClusterError as error:
        return [unmeasured(what, how, str(error), GOALS[what], "punctuality") for what in GOALS]


@contextlib.asynccontextmanager
async def _watching(namespace: str) -> AsyncIterator[Seen]:
    kube, seen = Kube.connect("bench"), Seen()
    watches = [
        asyncio.create_task(Watch(kube, kind, namespace, on_change).run())
        for kind, on_change in ((Pod, seen.pod), (Deployment, seen.deployment))
    ]
    try:
        yield seen
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await kube.close()


async def _measure(kubectl: Kubectl, pools: int, each: int) -> list[Window]:
    names = [f"pool-{number:02d}" for number in range(pools)]
    with progress.step(f"{pools} pools learn how long their pods take"):
        await _learn(kubectl, names)
    async with _watching(kubectl.namespace) as seen:
        first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
        openings = {
            name: [
                first + timedelta(seconds=number * EVERY.seconds // pools) + EVERY * turn
                for turn in range(each)
            ]
            for number, name in enumerate(names)
        }
        for name, starts in openings.items():
            kubectl.patch("warmpool", name, {"spec": {"windows": windows(starts)}})
        last = max(starts[-1] for starts in openings.values()) + LENGTH
        with progress.step(f"windows until {last:%H:%M:%S}"):
            await asyncio.sleep((last - datetime.now(UTC)).total_seconds() + SETTLE + 10)
    return [window for name, starts in openings.items() for window in judge(seen, name, starts)]


async def _learn(kubectl: Kubectl, names: Sequence[str]) -> None:
    """One warm-up each, by a request; then they sleep again."""
    for name in names:
        kubectl.apply(*small_app(name), pool(name, idleAfter="5s", maxReplicas=1))
    await eventually("all accepted and asleep", lambda: _asleep(kubectl) == len(names), 120, 1)
    await asyncio.sleep(3)
    for start in range(0, len(names), 3):
        await asyncio.gather(*(_ask(kubectl, name) for name in names[start : start + 3]))
    await asyncio.sleep(6)
    await eventually("all asleep again", lambda: _asleep(kubectl) == len(names), 120, 1)


async def _ask(kubectl: Kubectl, name: str) -> None:
    client = await Client.connect((service_ip(kubectl, name), 80))
    await client.ask(request("GET", "/", Connection="close"))
    client.close()


def _asleep(kubectl: Kubectl) -> int:
    phases = [(p.get("status") or {}).get("phase") for p in kubectl.items("warmpools")]
    return phases.count("Asleep")


def windows(starts: Sequence[datetime]) -> list[dict[str, object]]:
    """Windows for spec.windows."""
    return [
        {"name": f"w{n}", "start": wall(start), "end": wall(start + LENGTH), "replicas": 1}
        for n, start in enumerate(starts)
    ]


def judge(seen: Seen, name: str, starts: Sequence[datetime]) -> list[Window]:
    """How each window of a pool went."""
    found, after = [], starts[0].timestamp() - 120
    for start in starts:
        opens, closes = start.timestamp(), (start + LENGTH).timestamp()
        ready = next((at for at in seen.ready[name] if at > after), float("nan"))
        lowered = next((at for at in seen.lowered[name] if at > closes), float("nan"))
        found.append(Window(opens - ready, lowered - closes - SETTLE))
        after = lowered if lowered == lowered else closes
    return found


def _judged(found: list[Window], how: str) -> list[Row]:
    early = Samples.of(window.early for window in found)
    late = Samples.of(window.late for window in found)
    wasted = Samples.of(window.wasted for window in found)
    punctual = sum(window.early > 0 for window in found)
    share, worst, number = punctual / len(found), max(late.values), len(found)
    gone = sum(value <= 2 for value in late.values) == number
    said = f"{punctual} of {number}; Ready ahead by {early.spread}"
    return [
        Row(EARLY, how, early.text, said, number, GOALS[EARLY], share, share == 1, AGAIN),
        Row(LATE, how, late.text, late.spread, number, GOALS[LATE], worst, gone, AGAIN),
        Row(WASTE, how, wasted.text, wasted.spread, number, "", None, None, AGAIN),
    ]


if __name__ == "__main__":
    main(rows)
