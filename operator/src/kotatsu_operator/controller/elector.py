"""Leader election: reads and writes the Lease; `election` decides.

A thread with its own event loop and connections renews the Lease (decision 23). It publishes how
long the Lease is valid, and the operator's loop compares that with the clock before each write.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from kotatsu_operator.controller import election
from kotatsu_operator.controller.election import Action, Candidate, Lease, OutageWatch, Times
from kotatsu_operator.core.protocol import LEASE_NAME, RECORD
from kotatsu_operator.kube import errors
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import ConfigMap, Object
from kotatsu_operator.kube.objects import Lease as LeaseKind

log = logging.getLogger(__name__)

HUNG_AFTER = 30.0
"""Seconds for which the operator's event loop may be blocked before the thread gives up the Lease.
Until then the loop is busy, and another leader would have the same work."""

_FOLLOW_SECONDS = 1.0
"""How often the loop checks the Lease by itself, in case the thread is blocked."""

_CALL_SECONDS = 3.0
_OTHER_CALL_SECONDS = 1.0
_RELEASE_SECONDS = 3.0


def leader_metric(registry: CollectorRegistry) -> Gauge:
    """The metric that shows which operator leads."""
    return Gauge(
        "kotatsu_operator_leader",
        "1 on the operator that leads, 0 on a standby.",
        registry=registry,
    )


class Elector:
    """Takes part in the election as one candidate.

    `candidate` is the namespace of the Lease, and a name that is unique among running processes:
    that of the pod.
    `late` returns for how many seconds the operator's event loop has been blocked. `run` closes the
    connections of `kube` at its end.
    """

    def __init__(
        self,
        kube: Kube,
        candidate: tuple[str, str],
        registry: CollectorRegistry,
        *,
        times: Times = election.TIMES,
        clock: Callable[[], float] = time.monotonic,
        late: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._kube, self._namespace, self.me = kube, *candidate
        self._times, self._clock, self._late = times, clock, late
        self._terms = 0
        """How often the Lease was acquired; work that began in one term ends with it."""
        self._candidate = Candidate()
        self._contact = OutageWatch()
        self._metric = leader_metric(registry)
        self.beat_at = clock()
        """When the thread last began a turn, by its clock; `/livez` fails if it is too old."""

    @property
    def leads(self) -> bool:
        return election.leads(self._candidate, self._clock(), self._times)

    @property
    def holder(self) -> str:
        """The holder of the Lease when it was last read; empty if there was none."""
        return self._candidate.seen.holder if self._candidate.seen else ""

    def catching_up(self) -> float:
        """For how many seconds other components may still lag behind an API-server outage."""
        return self._contact.catching_up(self._clock())

    @property
    def stalled(self) -> float:
        return self._clock() - self.beat_at

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take part until cancelled; `work()` runs while leading and is cancelled when that ends.

        Releases the Lease at the end. Raises the errors of `work`; the process then restarts.
        """
        working: asyncio.Task[None] | None = None
        term = 0
        here, turned, end = asyncio.get_running_loop(), asyncio.Event(), Future[None]()
        tell = partial(here.call_soon_threadsafe, turned.set)
        thread = ThreadPoolExecutor(1, "lease")
        keeping = here.run_in_executor(thread, lambda: asyncio.run(self._keep(end, tell)))
        try:
            while not keeping.done():
                turned.clear()
                if working is not None and working.done():
                    working.result()
                leads = self.leads
                if working is not None and not (leads and term == self._terms):
                    log.warning("no longer the leader: stopping all actions")
                    await cancel(working)
                    working = None
                elif working is None and leads:
                    log.info("leading, as %s", self.me)
                    term = self._terms
                    working = asyncio.create_task(work(), name="lead")
                self._metric.set(working is not None)
                await self._next_turn(turned, keeping, working)
            keeping.result()
        finally:
            await cancel(working)
            self._metric.set(0)
            end.set_result(None)
            await asyncio.wait({keeping})
            thread.shutdown(wait=False)

    async def _next_turn(self, turned: asyncio.Event, *others: asyncio.Future[None] | None) -> None:
        waiting = asyncio.ensure_future(turned.wait())
        every: set[asyncio.Future[Any]] = {waiting, *filter(None, others)}
        await asyncio.wait(
            every,
            timeout=min(_FOLLOW_SECONDS, self._times.retry),
            return_when=asyncio.FIRST_COMPLETED,
        )
        waiting.cancel()

    async def _keep(self, end: Future[None], turned: Callable[[], object]) -> None:
        ending = asyncio.wrap_future(end)
        try:
            while not ending.done():
                pause = await self.turn()
                turned()
                await asyncio.wait({ending}, timeout=pause)
            await self.release()
        finally:
            await self._kube.close()

    async def turn(self) -> float:
        """Read the Lease and acquire or renew it if due; return the seconds until the next turn."""
        self.beat_at = self._clock()
        if (late := self._late()) > HUNG_AFTER:
            if self._candidate.renewed_at is not None:
                log.error(
                    "the event loop has been blocked for %.0f s: no longer renewing the Lease", late
                )
            self._candidate = replace(self._candidate, renewed_at=None)
            return self._times.retry
        try:
            async with asyncio.timeout(self._at_most(_CALL_SECONDS)):
                await self._turn()
            self._note_answer()
        except ConflictError:
            self._note_answer()
            log.debug("another client has written the Lease: reading it again")
            return 0.05
        except NotFoundError as error:
            self._note_answer()
            log.warning("cannot create Lease %s/%s: %s", self._namespace, LEASE_NAME, error)
            return self._after_silence()
        except Unreachable as error:
            log.warning("cannot read or write Lease %s/%s: %s", self._namespace, LEASE_NAME, error)
            self._note(error)
            if not errors.is_answer(error):
                await self._ask_elsewhere()
            return self._after_silence()
        return election.pause(self.me, self._candidate, self._clock(), self._times)

    async def _ask_elsewhere(self) -> None:
        """Call another endpoint, to distinguish an outage of the API server from a failed call."""
        try:
            async with asyncio.timeout(self._at_most(_OTHER_CALL_SECONDS)):
                await self._kube.get(ConfigMap, self._namespace, RECORD)
            self._note_answer()
        except (ConflictError, NotFoundError):
            self._note_answer()
        except Unreachable as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        if errors.is_answer(error):
            self._note_answer()
        else:
            slow = isinstance(error, errors.TooSlow)
            self._contact = self._contact.silent(self._clock(), slow=slow)

    def _note_answer(self) -> None:
        before = self._contact.outage
        self._contact = self._contact.answered(self._clock())
        if self._contact.outage != before:
            log.warning(
                "the API server responds again: for %.0f s, until all components have reconnected, "
                "no pool loses a pod",
                self.catching_up(),
            )

    def _after_silence(self) -> float:
        """Lead until the renew deadline; return the seconds until the next attempt."""
        pause = self._at_most(min(1.0, self._times.retry))
        if pause > 0:
            return pause
        self._candidate = replace(self._candidate, renewed_at=None)
        return 0.05

    def _at_most(self, seconds: float) -> float:
        """These seconds, but not beyond the renew deadline of a leader."""
        if self._candidate.renewed_at is None:
            return seconds
        left = self._candidate.renewed_at + self._times.renew_deadline - self._clock()
        return max(min(seconds, left), 0)

    async def _turn(self) -> None:
        obj, lease = None, None
        with contextlib.suppress(NotFoundError):
            obj = await self._kube.get(LeaseKind, self._namespace, LEASE_NAME)
            lease = election.read_spec(obj.get("spec") or {})
        before = self.holder
        action, self._candidate = election.judge(
            lease, self.me, self._candidate, self._clock(), self._times
        )
        if action is Action.WAIT and self.holder != before:
            log.info("standing by: %s leads", self.holder)
        if action in (Action.ACQUIRE, Action.RENEW):
            new = election.taken(lease, self.me, datetime.now(UTC), self._times.lease)
            sent_at = self._clock()
            await self._write(obj, new)
            self._terms += action is Action.ACQUIRE
            self._candidate = election.written(self._candidate, new, sent_at)

    async def release(self) -> None:
        """Release the Lease if this operator holds it, so that another one can lead at once."""
        if self._candidate.renewed_at is None:
            return
        self._candidate = Candidate()
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                if await let_go(self._kube, self._namespace, self.me):
                    log.info("released the Lease")
        except (ConflictError, NotFoundError):
            pass
        except Unreachable as error:
            log.warning("cannot release the Lease, which expires by itself: %s", error)

    async def _write(self, before: Object | None, lease: Lease) -> None:
        """Write at the version that was read. Raises ConflictError if the Lease has changed."""
        spec = election.write_spec(lease)
        if before is None:
            metadata = {"name": LEASE_NAME, "namespace": self._namespace}
            obj = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
            await self._kube.create(LeaseKind, self._namespace, obj | {"spec": spec})
            return
        try:
            await self._kube.replace(LeaseKind, self._namespace, {**before, "spec": spec})
        except NotFoundError as error:
            raise ConflictError(str(error)) from None


async def let_go(kube: Kube, namespace: str, holder: str) -> bool:
    """Release the Lease if `holder` holds it; return whether it did.

    Raises ConflictError, NotFoundError.
    """
    obj = await kube.get(LeaseKind, namespace, LEASE_NAME)
    lease = election.read_spec(obj.get("spec") or {})
    if lease.holder != holder:
        return False
    spec = election.write_spec(election.released(lease, datetime.now(UTC)))
    await kube.replace(LeaseKind, namespace, {**obj, "spec": spec})
    return True


async def cancel(task: asyncio.Task[Any] | None) -> None:
    """End a task, if there is one, and wait for its end."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
