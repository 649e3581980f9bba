"""Asks for the demand of a pool: requests in its pods, and connections in the activators."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.pages import PARALLEL, Coalesced, Page, Pages
from kotatsu_operator.controller.response import Method
from kotatsu_operator.core import exposition
from kotatsu_operator.core.exposition import LONGEST_PAGE, Samples, Silence
from kotatsu_operator.core.plan.activity import asks_for_gauge
from kotatsu_operator.core.pool.decision import Demand, Wake
from kotatsu_operator.core.pool.memory import Template
from kotatsu_operator.core.pool.spec import InFlightMetric, PoolSpec, RouteMode
from kotatsu_operator.core.protocol import (
    ACTIVE,
    HELD,
    LAST_ACTIVITY,
    LAST_WAKE,
    LAST_WAKE_TOOK,
    LOOKED_AT,
    LOOKS,
    MARKED,
    TIMED_OUT,
)
from kotatsu_operator.kube.objects import Key, target_ports
from kotatsu_operator.kube.views import PodView

ACTIVATOR_PORT = "metrics"
_ACTIVATOR_PAGE = "/metrics?looks=&" + "&".join(f"name[]={name}" for name in LOOKED_AT)
"""An activator renders only the metrics that the query names, and of the pools that it names.

Until version 0.1 a request without `looks` was a look at all pools: to be removed in version 0.2.
"""

NOT_KNOWN = Template()
"""Of pods that have shown nothing yet."""

AT_ONCE = 64
"""Pods of one pool that are asked at once."""

QUIET, LONGEST_QUIET = 1.0, 16.0
"""Seconds for which a silent pod is not asked again: at first, and at most."""
LAST_REQUEST = "kotatsu_last_request_timestamp_seconds"
"""The gauge with the Unix time of the last request; a page may lack it."""

_MOST_QUIET = 10_000
_MOST_NAMED = 200
"""Pools that one request to an activator names at most."""
_LONGEST_QUERY = 16 * 2**10
"""Characters that name them, at most, unless it is one: a server reads a line of 64 KiB, and an
activator of the version before gets each name twice."""

_MOST_ACTIVATORS = 1000

EVERY = 0.05
"""Seconds between the starts of two requests to one activator."""


@dataclass(frozen=True)
class PodAnswer:
    """The demand that one pod reported."""

    in_flight: int
    last_request: datetime | None


Targets = Sequence[str | int]
"""Target ports of a Service, by name or number."""


@dataclass(frozen=True)
class _Quiet:
    """A pod that is not asked for a while."""

    silence: Silence
    lasting: float
    until: float
    asked: tuple[bool, InFlightMetric, Targets]
    """Whether the pod was Ready, and what it was asked."""


_Answer = tuple[Page, Mapping[str, Samples]] | Silence
"""A page, and the samples of one pool on it by metric name."""


@dataclass
class _Question:
    """The next request to one activator, which all pools share that ask meanwhile."""

    ask: Coalesced[Mapping[Key, _Answer]]
    pools: dict[Key, bool]
    """The pools that it names, and whether they may be put to sleep on its answer (step 4)."""


class Scraper:
    """Asks each pod, and asks each activator once for all concurrent callers."""

    def __init__(
        self, parallel: int = PARALLEL, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pages = Pages(parallel, clock)
        self._quiet: dict[str, _Quiet] = {}
        """Silent pods by uid."""
        self._activators: dict[Key, tuple[PodView, _Question]] = {}

    async def pod(
        self,
        pod: PodView,
        metric: InFlightMetric,
        targets: Targets = (),
        *,
        metered: bool = False,
    ) -> PodAnswer | Silence:
        """Requests in flight in a pod, and the time of the last one by the operator's clock.

        `targets` are the target ports of the Service, and `metered` is whether the pool's pods are
        known to have a gauge. A pod that used up the timeout is not asked for a while, which
        doubles each time.
        """
        clock = asyncio.get_running_loop().time
        quiet, asked = self._quiet.get(pod.uid), (pod.ready, metric, tuple(targets))
        if quiet is not None and clock() < quiet.until and quiet.asked == asked:
            return quiet.silence
        answer = await self._pod(pod, metric, targets, metered=metered)
        self._quiet.pop(pod.uid, None)
        if isinstance(answer, Silence) and answer.waited:
            lasting = QUIET if quiet is None else min(2 * quiet.lasting, LONGEST_QUIET)
            while len(self._quiet) >= _MOST_QUIET:
                del self._quiet[next(iter(self._quiet))]
            self._quiet[pod.uid] = _Quiet(answer, lasting, clock() + lasting, asked)
        return answer

    async def _pod(
        self, pod: PodView, metric: InFlightMetric, targets: Targets, *, metered: bool
    ) -> PodAnswer | Silence:
        names: tuple[str, ...] = (metric.name, LAST_REQUEST)
        is_default = metric.name == InFlightMetric.name
        if is_default:
            names += (*exposition.GAUGE_NAMES, *exposition.FROM_THE_START)
        page = await self._pages.read(pod, metric.port, metric.path, names)
        if isinstance(page, Silence):
            return page
        where = f"its page {metric.path} on port {metric.port}"
        if metric.name not in page.samples:
            served = [port for port in map(pod.port, targets) if port is not None]
            found = (
                exposition.find_gauge(page.samples, pod.port(metric.port), served)
                if is_default
                else None
            )
            if isinstance(found, int):
                return PodAnswer(found, _newest(page.samples.get(LAST_REQUEST, ()), page))
            if (
                found is None
                and metered
                and any(name in page.samples for name in exposition.FROM_THE_START)
            ):
                return PodAnswer(0, _newest(page.samples.get(LAST_REQUEST, ()), page))
            why = f"has no metric {metric.name} on {where}"
            return found or Silence(why, lacks=True)
        in_flight = exposition.count_of(page.samples[metric.name])
        if in_flight is None:
            return Silence(f"reports no finite number for {metric.name} on {where}")
        return PodAnswer(in_flight, _newest(page.samples.get(LAST_REQUEST, ()), page))

    async def pods(
        self,
        pods: Sequence[PodView],
        metric: InFlightMetric,
        targets: Targets = (),
        *,
        metered: bool = False,
    ) -> list[PodAnswer | Silence]:
        """The answers of a pool's pods, in the same order.

        At most `AT_ONCE` pods are asked at once. After as many timeouts the others are not asked:
        the demand is unknown then, and asking would only take time.
        """
        slots, silent = asyncio.Semaphore(AT_ONCE), 0

        async def ask(pod: PodView) -> PodAnswer | Silence:
            nonlocal silent
            async with slots:
                if silent >= AT_ONCE:
                    return Silence(f"was not queried, because {AT_ONCE} other pods did not respond")
                answer = await self.pod(pod, metric, targets, metered=metered)
            silent += isinstance(answer, Silence) and answer.waited
            return answer

        return await asyncio.gather(*map(ask, pods))

    async def passing(
        self, activators: Iterable[PodView], pool: Key, *, looks: bool = False
    ) -> Demand:
        """The demand of a pool that the activators see: what they hold and forward.

        Every running one is asked, also a terminating one, but only the silence of a Ready one
        makes the answer unknown. `looks` means that the answer may put the pool to sleep (step 4).
        """
        asked = [pod for pod in activators if pod.running]
        answers = await asyncio.gather(*(self._passing(pod, pool, looks) for pod in asked))
        said = [a for a in answers if isinstance(a, Demand)]
        silent = [
            answer.why
            for pod, answer in zip(asked, answers, strict=True)
            if isinstance(answer, Silence) and pod.ready
        ]
        return Demand(
            held=sum(a.held for a in said),
            passing=sum(a.passing for a in said),
            last_passed=max((a.last_passed for a in said if a.last_passed), default=None),
            silent_activator=silent[0] if silent else "",
            timed_out={
                pod.uid: None if isinstance(answer, Silence) else answer.timed_out.get(pod.uid)
                for pod, answer in zip(asked, answers, strict=True)
            },
            last_wake=max((a.last_wake for a in said if a.last_wake), key=_began, default=None),
            uses={} if silent else _uses([a.uses or {} for a in said]),
        )

    async def _passing(self, pod: PodView, pool: Key, looks: bool) -> Demand | Silence:
        question = self._activator(pod)
        question.pools[pool] = looks or question.pools.get(pool, False)
        said = (await question.ask())[pool]
        if isinstance(said, Silence):
            return Silence(f"activator {pod.key[1]} {said.why}")
        page, samples = said
        active, held = (exposition.count_of(samples.get(name, ())) for name in (ACTIVE, HELD))
        if active is None or held is None:
            return Silence(f"activator {pod.key[1]} reports no finite number")
        return Demand(
            held=held,
            passing=active,
            last_passed=_newest(samples.get(LAST_ACTIVITY, ()), page),
            timed_out={pod.uid: exposition.count_of(samples.get(TIMED_OUT, ())) or 0},
            last_wake=_last_wake(samples),
            uses={
                labels.get("pod", ""): number
                for labels, value in samples.get(MARKED, ())
                if (number := exposition.count_of([(labels, value)])) is not None
            },
        )

    def _activator(self, pod: PodView) -> _Question:
        """The request to one activator."""
        known = self._activators.get(pod.key)
        if known is not None and known[0] == pod:
            return known[1]
        while len(self._activators) >= _MOST_ACTIVATORS:
            del self._activators[next(iter(self._activators))]  # the oldest
        pools: dict[Key, bool] = {}
        question = _Question(Coalesced(partial(self._ask, pod, pools), EVERY), pools)
        self._activators[pod.key] = (pod, question)
        return question

    async def _ask(self, pod: PodView, pools: dict[Key, bool]) -> Mapping[Key, _Answer]:
        """Ask for the pools that are named so far, in as many requests as that takes."""
        asked = sorted(pools.items())
        pools.clear()
        looks, reads = ([pool for pool, it in asked if it is looked] for looked in (True, False))
        asking = [(names, self._look(pod, names)) for names in _parts(looks)]
        asking += [(names, self._read(pod, _page(names))) for names in _parts(reads)]
        pages = await asyncio.gather(*(one for _, one in asking))
        said: dict[Key, _Answer] = {}
        for (names, _), page in zip(asking, pages, strict=True):
            if isinstance(page, Silence):
                said |= dict.fromkeys(names, page)
            else:
                by_pool = _by_pool(page)
                said |= {name: (page, by_pool.get(name, {})) for name in names}
        return said

    async def _look(self, pod: PodView, pools: Sequence[Key]) -> Page | Silence:
        """Have the activator record that these pools may be put to sleep on its answer (step 4)."""
        page = await self._read(pod, f"{LOOKS}?{_named(pools)}", "POST")
        if isinstance(page, Silence) and page.status == HTTPStatus.NOT_FOUND:
            # An activator of before version 0.1: to be removed in version 0.2.
            page = await self._read(pod, f"{_page(pools)}&{_named(pools, 'looks')}")
        return page

    async def _read(self, pod: PodView, path: str, method: Method = "GET") -> Page | Silence:
        return await self._pages.read(pod, ACTIVATOR_PORT, path, LOOKED_AT, LONGEST_PAGE, method)


def _parts(pools: Iterable[Key]) -> Iterator[list[Key]]:
    """The pools of each request to an activator."""
    names, length = list[Key](), 0
    for pool in pools:
        more = len(_named([pool])) + 1
        if names and (len(names) >= _MOST_NAMED or length + more > _LONGEST_QUERY):
            yield names
            names, length = [], 0
        names.append(pool)
        length += more
    if names:
        yield names


def _named(pools: Iterable[Key], by: str = "pool") -> str:
    """What names pools in a query."""
    return "&".join(f"{by}={namespace}/{name}" for namespace, name in pools)


def _page(pools: Iterable[Key]) -> str:
    return f"{_ACTIVATOR_PAGE}&{_named(pools)}"


def _by_pool(page: Page) -> Mapping[Key, Mapping[str, Samples]]:
    found: dict[Key, dict[str, Samples]] = {}
    for name, samples in page.samples.items():
        for labels, value in samples:
            pool = (labels.get("namespace", ""), labels.get("name", ""))
            found.setdefault(pool, {}).setdefault(name, []).append((labels, value))
    return found


def _newest(samples: Iterable[tuple[Mapping[str, str], float]], page: Page) -> datetime | None:
    """The latest of some Unix times, by the operator's clock."""
    last = exposition.unix_time(max(exposition.numbers(samples), default=0.0))
    return None if last is None else last - page.ahead


def _uses(said: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    """The connections of the marked pods, summed; none if activators know other marks."""
    first = said[0] if said else {}
    if any(one.keys() != first.keys() for one in said):
        return {}
    return {name: sum(one[name] for one in said) for name in first}


def _last_wake(samples: Mapping[str, Samples]) -> Wake | None:
    at, took = (
        max(exposition.numbers(samples.get(name, ())), default=None)
        for name in (LAST_WAKE, LAST_WAKE_TOOK)
    )
    # By the activator's clock: another estimate of it would be another wake.
    began = exposition.unix_time(at or 0.0)
    if began is None:
        return None
    return Wake(began, None if took is None else timedelta(seconds=min(max(took, 0.0), 1e6)))


def _began(wake: Wake) -> datetime:
    return wake.at


@dataclass(frozen=True)
class Observer:
    """Asks pods and activators."""

    cache: Cache
    scraper: Scraper
    catching_up: Callable[[], float] = lambda: 0.0
    """Returns for how many seconds other components may still lag behind an API-server outage."""
    aside: Callable[[Key], AbstractContextManager[None]] = lambda _: nullcontext()
    """Entered while a reconcile waits for responses of pods and activators."""

    async def raised(self, key: Key) -> Demand:
        """What the activators know of a sleeping pool whose scale was raised: who waits for it."""
        with self.aside(key):
            through = await self.scraper.passing(self.cache.activators.of(key), key)
        return Demand(held=through.held, timed_out=through.timed_out, last_wake=through.last_wake)

    async def demand(
        self,
        key: Key,
        spec: PoolSpec,
        pods: list[PodView],
        template: Template = NOT_KNOWN,
        *,
        looks: bool = False,
    ) -> Demand:
        """Ask every activator, and every pod that is not terminating; `looks` marks step 4.

        With route Activator, pods are asked only as long as it is open whether they have a gauge,
        which `template` says.

        Otherwise demand is unknown if a pod does not respond that may have requests: it is or was
        Ready. (Readiness can fail under load.) A pod that was never Ready got none, and cannot
        respond while it starts.
        """
        all_pass = spec.route is RouteMode.ACTIVATOR
        said = list[tuple[PodView, PodAnswer | Silence]]()
        with self.aside(key):
            # Activators first: a request that moves to a pod meanwhile is then counted there.
            activators = self.cache.activators.of(key)
            through = await self.scraper.passing(activators, key, looks=looks)
            if not all_pass or asks_for_gauge(spec, template):
                asked = sorted((p for p in pods if p.running and not p.terminating), key=_order)
                targets = target_ports(self.cache.services.get((key[0], spec.service)))
                answers = await self.scraper.pods(
                    asked, spec.in_flight_metric, targets, metered=template.metered is True
                )
                said = list(zip(asked, answers, strict=True))
        metered = _has_gauge(said)
        if all_pass:
            why = through.silent_activator
            if not why and not spec.beside and self.cache.is_bypassed(key):
                why = f"Service {spec.service} has endpoints beside the activators"
            return Demand(
                through.passing,
                through.held,
                through.last_passed,
                known=not why,
                silent=why,
                metered=metered,
                timed_out=through.timed_out,
                last_wake=through.last_wake,
                uses={} if why else through.uses,
            )
        uses = {pod.key[1]: 0 for pod in pods if not pod.has_served}
        uses |= {pod.key[1]: a.in_flight for pod, a in said if isinstance(a, PodAnswer)}
        heard = [answer for _, answer in said if isinstance(answer, PodAnswer)]
        unheard = [
            (pod, answer) for pod, answer in said if isinstance(answer, Silence) and pod.has_served
        ]
        silent = [through.silent_activator] if through.silent_activator else []
        silent += [f"pod {pod.key[1]} {answer.why}" for pod, answer in unheard]
        return replace(
            through,
            in_flight=sum(answer.in_flight for answer in heard),
            last_request=max((a.last_request for a in heard if a.last_request), default=None),
            known=not silent,
            silent=silent[0] if silent else "",
            metered=metered,
            uses=uses,
        )


def _has_gauge(said: Sequence[tuple[PodView, PodAnswer | Silence]]) -> bool | None:
    """Whether the pods have a gauge: all Ready ones must show that they have none."""
    if any(isinstance(answer, PodAnswer) for _, answer in said):
        return True
    ready = [answer for pod, answer in said if pod.ready]
    is_lacking = bool(ready) and all(isinstance(one, Silence) and one.lacks for one in ready)
    return False if is_lacking else None


def _order(pod: PodView) -> tuple[bool, Key]:
    return not pod.has_served, pod.key
