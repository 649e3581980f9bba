"""The rehearsal of one pool, in stages, so that several pools can be rehearsed together."""

from argparse import Namespace
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from kotatsu_operator.core.calendar.schedule import Occurrence, next_start
from kotatsu_operator.core.formats import conditions_of, is_true, text
from kotatsu_operator.core.plan.plan import plan_at
from kotatsu_operator.core.pool.memory import Phase

from .api import Api
from .client import Client, Job, Step
from .errors import DemoModeError
from .on import is_warm
from .overrides import end_override, override, set_override
from .pools import Pool, hopeless, read_pool
from .results import Answer, Report
from .shell import Shell
from .times import about, duration_of

_LOOK_AHEAD = timedelta(days=31)


WAIT, BARRIER = Step.WAIT, Step.BARRIER


def rehearsed(pool: Pool, now: datetime) -> Occurrence | None:
    """The next opening, which is rehearsed."""
    return next_start(pool.spec.windows, pool.spec.zone, now, _LOOK_AHEAD)


def parking_state(pool: Pool) -> str:
    """Parked, Restoring or NotParked: the reason of the condition Parked."""
    return text(conditions_of(pool.status).get("Parked", {}).get("reason"), "NotParked")


def has_failed(pool: Pool) -> bool:
    """Whether pods do not get their requests back."""
    return is_true(conditions_of(pool.status).get("ParkingFailed"))


class Rehearsal:
    """One pool: asleep, woken by a request, with all pods, under load; then restored."""

    def __init__(
        self,
        api: Api,
        pool: Pool,
        client: Client,
        options: Namespace,
        shell: Shell,
        limit: timedelta,
    ) -> None:
        self._api, self._pool, self._client = api, pool, client
        self._options, self._shell, self._limit = options, shell, limit
        # The override ends by itself if this program cannot remove it.
        self._until = shell.clock() + min(3 * limit + timedelta(minutes=2), timedelta(hours=24))

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Restore the previous override at the end, or remove the rehearsal's."""
        try:
            yield
        finally:
            before = self._pool.raw["spec"].get("override")
            now = self._read()
            if before is not None:
                set_override(self._api, now, before, force=True, dry_run=False)
            elif now.spec.override is not None:
                end_override(self._api, now, force=True, dry_run=False)
            self._shell.terminal.clear()

    def steps(self) -> Generator[Step, None, Report]:
        """Put the pool to sleep, wake it by a request, start all replicas, send the requests."""
        coming = rehearsed(self._pool, self._shell.clock())
        replicas = coming.replicas if coming else 1
        replicas = min(self._options.replicas or replicas, self._pool.spec.scaling.max_replicas)
        cold = None
        if not self._options.warm_only:
            yield from self._put_to_sleep()
            yield BARRIER
            self._say("asleep; sending the request that wakes it")
            _, results = yield from self._client.send(self._job(1, 1))
            cold = Answer(*results[0])
            yield BARRIER
        was_parked = parking_state(self._read()) != "NotParked"
        begin = self._shell.clock()
        warm_seconds = yield from self._warm(replicas)
        restored = (yield from self._restored(begin)) if was_parked else None
        yield BARRIER
        self._say(f"{replicas} Ready; sending {self._options.requests} requests")
        seconds, results = yield from self._client.send(
            self._job(self._options.requests, self._options.concurrency)
        )
        after = self._read()
        limit = self._options.max_p95
        return Report(
            pool=self._pool.name,
            route=self._client.route,
            window=coming.window if coming else "",
            replicas=replicas,
            cold=cold,
            ready_seconds=warm_seconds,
            lead=after.spec.lead or plan_at(after.spec, after.memory, self._shell.clock()).lead,
            load=[Answer(*result) for result in results],
            load_seconds=seconds,
            concurrency=self._options.concurrency,
            max_p95=None if limit is None else duration_of(limit, "--max-p95"),
            restored_seconds=restored,
        )

    def _job(self, requests: int, concurrency: int) -> Job:
        headers = {}
        for given in self._options.header:
            name, separator, value = given.partition(":")
            if not separator:
                raise DemoModeError(
                    f"--header: {given!r} is not a header; write it like 'Name: value'"
                )
            headers[name.strip()] = value.strip()
        return {
            "method": self._options.method or ("GET" if self._options.data is None else "POST"),
            "data": self._options.data,
            "headers": headers,
            "requests": requests,
            "concurrency": concurrency,
            # Longer than the activator holds a request, to get the activator's answer.
            "timeout": self._pool.spec.hold_timeout.total_seconds() + 15,
        }

    def _read(self) -> Pool:
        return read_pool(self._api.get(self._pool.path), self._pool.template)

    def _set(self, mode: str, replicas: int | None) -> int:
        value = override(
            mode, self._until, by=self._shell.user, reason="rehearsal", replicas=replicas
        )
        force = bool(self._options.force)
        raw = set_override(self._api, self._read(), value, force=force, dry_run=False)
        return int(raw["metadata"]["generation"])

    def _put_to_sleep(self) -> Iterator[Step]:
        if self._is_asleep(self._read()):
            return
        self._set("Asleep", None)
        begin = self._shell.clock()
        while not self._is_asleep(pool := self._read()):
            self._say(f"putting it to sleep ({pool.status.get('phase', '-')})")
            self._give_up(begin, "did not fall asleep", pool)
            yield WAIT

    @staticmethod
    def _is_asleep(pool: Pool) -> bool:
        return pool.status.get("phase") == Phase.ASLEEP and not pool.status.get("readyReplicas")

    def _warm(self, replicas: int) -> Generator[Step, None, float]:
        begin = self._shell.clock()
        generation = self._set("Warm", replicas)
        while not is_warm((pool := self._read()).status, generation):
            if why := hopeless(pool.status, generation):
                raise DemoModeError(f"the demo would have failed: {pool.name}: {why}")
            self._say(f"{pool.status.get('readyReplicas', 0)} of {replicas} Ready")
            self._give_up(begin, f"does not have {replicas} Ready pods", pool)
            yield WAIT
        return (self._shell.clock() - begin).total_seconds()

    def _restored(self, begin: datetime) -> Generator[Step, None, float | None]:
        """Wait until no pod has smaller requests; None if some do not get them back."""
        while parking_state(pool := self._read()) != "NotParked":
            self._say("pods get their full requests back")
            if has_failed(pool) or self._shell.clock() - begin > self._limit:
                return None
            yield WAIT
        return (self._shell.clock() - begin).total_seconds()

    def _give_up(self, begin: datetime, what: str, pool: Pool) -> None:
        if self._shell.clock() - begin > self._limit:
            raise DemoModeError(
                f"the demo would have failed: {pool.name} {what} after {about(self._limit)} "
                f"(phase {pool.status.get('phase')}); see `kubectl describe warmpool {pool.name}`"
            )

    def _say(self, what: str) -> None:
        self._shell.terminal.progress(f"{self._pool.name}: {what}")
