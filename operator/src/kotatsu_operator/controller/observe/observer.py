"""Asks for a pool's demand: requests in its pods, and connections in the activators."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.observe.scraper import Scraper
from kotatsu_operator.core.exposition import Silence
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.spec import PoolSpec, RouteMode
from kotatsu_operator.kube.objects import Key, target_ports
from kotatsu_operator.kube.pod import PodView


@dataclass(frozen=True)
class Observer:
    """Asks pods and activators."""

    cache: Cache
    scraper: Scraper
    catching_up: Callable[[], float] = lambda: 0.0
    """Returns for how many seconds other components may still lag behind an API-server outage."""
    aside: Callable[[Key], AbstractContextManager[None]] = lambda _: nullcontext()
    """Entered while a reconcile waits for responses of pods and activators."""

    async def demand(
        self, key: Key, spec: PoolSpec, pods: list[PodView], *, looks: bool = False
    ) -> Demand:
        """Ask every pod that is not terminating, and every activator; `looks` marks step 4.

        Demand is unknown if a pod does not respond that may have requests: it is or was Ready.
        (Readiness can fail under load.) A pod that was never Ready got none, and cannot respond
        while it starts. If all pods that may have requests show that they have no gauge, the pool
        is not metered (see `core.plan.activity`).
        """
        with self.aside(key):
            return await self._demand(key, spec, pods, looks=looks)

    async def _demand(
        self, key: Key, spec: PoolSpec, pods: list[PodView], *, looks: bool
    ) -> Demand:
        # Activators first: a request that moves to a pod meanwhile is then counted there.
        through = await self.scraper.passing(self.cache.activator_pods(key[0]), key, looks=looks)
        if spec.route is RouteMode.ALWAYS:
            return Demand(
                through.active,
                through.held,
                through.last_activity,
                known=not through.silent,
                silent=through.silent,
            )
        silent = [through.silent] if through.silent else []
        in_flight, last = 0, None
        answered, lacking, others = 0, 0, 0
        metrics = spec.metrics
        if metrics is not None:
            asked = sorted((p for p in pods if p.running and not p.terminating), key=_order)
            targets = target_ports(self.cache.services.get((key[0], spec.service)))
            answers = await self.scraper.pods(asked, metrics, targets)
            for pod, answer in zip(asked, answers, strict=True):
                if isinstance(answer, Silence):
                    if pod.has_served:
                        silent.append(f"pod {pod.key[1]} {answer.why}")
                        lacking, others = lacking + answer.lacks, others + (not answer.lacks)
                    continue
                answered += 1
                in_flight += answer.in_flight
                if answer.last_request is not None:
                    last = max(last or answer.last_request, answer.last_request)
        metered = True if answered else False if lacking and not others else None
        return Demand(
            in_flight,
            through.held,
            last,
            known=not silent,
            silent=silent[0] if silent else "",
            metered=metered,
            passing=through.active,
            last_passed=through.last_activity,
            silent_activator=through.silent,
        )


def _order(pod: PodView) -> tuple[bool, Key]:
    return not pod.has_served, pod.key
