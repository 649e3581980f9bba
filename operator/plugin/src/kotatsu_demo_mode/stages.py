"""The rehearsal of one pool, in stages, and what it measured.

Several pools are rehearsed together: each waits at a barrier for the others.
"""

from argparse import Namespace
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from kotatsu_operator.core.calendar.schedule import Occurrence, next_start
from kotatsu_operator.core.formats import conditions_of, is_false, text
from kotatsu_operator.core.plan.lead import percentile
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.protocol import REHEARSAL_REASON

from .api import Api
from .client import Client, Job, Pause
from .errors import DemoModeError
from .on import is_warm, override, override_of, set_override
from .pools import Pool, hopeless, read_pool
from .shell import Shell
from .terminal import paired
from .words import about, duration_of


class Answer(NamedTuple):
    """The result of a request: its duration, status (0 without an answer), and error."""

    seconds: float
    status: int
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the service answered with success or a redirect."""
        return 200 <= self.status < 400

    @property
    def problem(self) -> str:
        return self.error or f"status {self.status}"


class Report(NamedTuple):
    """The results of a rehearsal; times in seconds."""

    pool: str
    route: str
    window: str
    """The window that was rehearsed; empty without a coming one."""
    replicas: int
    cold: Answer | None
    """The request that woke the pool; None with --warm-only."""
    ready: float
    """From the override with all replicas until they were Ready."""
    lead: float
    """How early pods start before a window."""
    load: Sequence[Answer]
    load_seconds: float
    concurrency: int
    max_p95: float | None = None
    restored: float | None = None
    """From the same override until no pod had smaller requests; None if the pool was not parked, or
    some pods do not get their requests back."""

    @property
    def errors(self) -> list[Answer]:
        return [a for a in self.load if not a.is_good]

    def _percentile(self, share: float) -> float:
        return percentile([a.seconds for a in self.load], share)

    @property
    def failures(self) -> list[str]:
        """Why the demo would have failed; empty if it would not."""
        found, p95 = [], self._percentile(0.95)
        if self.cold is not None and not self.cold.is_good:
            found.append(f"the request to the sleeping pool was not answered: {self.cold.problem}")
        if self.window and self.ready > self.lead:
            found.append(
                f"{self.window} would have opened cold: the pods took {self.ready:.1f} s and start "
                f"{self.lead:.0f} s early; raise spec.lead"
            )
        if self.errors:
            found.append(
                f"{len(self.errors)} of {len(self.load)} requests failed, "
                f"the first with {self.errors[0].problem}"
            )
        if self.max_p95 is not None and p95 > self.max_p95:
            limit = f"the limit of {self.max_p95:g} s (--max-p95)"
            found.append(f"p95 was {p95:.3f} s, above {limit}")
        return found

    def figures(self) -> list[str]:
        cold, load = self.cold, len(self.load)
        rows = [("route", self.route)]
        if cold is not None:
            rows.append(("cold wake", f"{cold.seconds:.2f} s" if cold.is_good else cold.problem))
        if self.restored is not None:
            rows.append(("restored", f"{self.restored:.1f} s to full requests"))
        early = f"pods start {self.lead:.0f} s before a window"
        rows += [
            (f"{self.replicas} Ready", f"{self.ready:.1f} s ({early})"),
            ("requests", f"{load}, {self.concurrency} at once, in {self.load_seconds:.2f} s"),
            ("p50", f"{self._percentile(0.5) * 1000:.1f} ms"),
            ("p95", f"{self._percentile(0.95) * 1000:.1f} ms"),
            ("errors", str(len(self.errors))),
        ]
        title = f"{self.pool}: rehearsal of {self.window or 'no window (none is planned)'}"
        return [title, *paired(rows)]

    def record(self) -> dict[str, Any]:
        """The report for JSON."""
        cold = None if self.cold is None else self.cold._asdict()
        if cold is not None:
            cold |= {"seconds": round(cold["seconds"], 3), "error": cold["error"] or None}
        restored = None if self.restored is None else {"seconds": round(self.restored, 1)}
        return {
            "pool": self.pool,
            "route": self.route,
            "window": self.window or None,
            "replicas": self.replicas,
            "cold": cold,
            "ready": {"seconds": round(self.ready, 1), "lead": self.lead},
            "restored": restored,
            "load": {
                "requests": len(self.load),
                "concurrency": self.concurrency,
                "seconds": round(self.load_seconds, 3),
                "p50": round(self._percentile(0.5), 4),
                "p95": round(self._percentile(0.95), 4),
                "errors": len(self.errors),
            },
            "passed": not self.failures,
            "failures": self.failures,
        }


WAIT, BARRIER = Pause.WAIT, Pause.BARRIER


def rehearsed(pool: Pool, now: datetime) -> Occurrence | None:
    """The next opening, which is rehearsed."""
    return next_start(pool.spec.windows, pool.spec.zone, now, timedelta(days=31))


def parking_state(pool: Pool) -> str:
    """Parked, Restoring or NotParked: the reason of the condition Parked."""
    return text(conditions_of(pool.status).get("Parked", {}).get("reason"), "NotParked")


def has_failed(pool: Pool) -> bool:
    """Whether pods do not get their requests back."""
    return is_false(conditions_of(pool.status).get("ParkingWorks"))


def headers_of(given: list[str]) -> dict[str, str]:
    """The headers of `--header`. Raises DemoModeError."""
    headers = {}
    for line in given:
        name, separator, value = line.partition(":")
        if not (separator and name.isascii() and value.isprintable() and value.isascii()):
            raise DemoModeError(f"--header: {line!r} is not a header; write it like 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers


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
        self._headers = headers_of(options.header)
        # The override ends by itself if this program cannot remove it.
        self._until = shell.clock() + min(3 * limit + timedelta(minutes=2), timedelta(hours=24))

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Restore the previous override at the end, or remove the rehearsal's."""
        try:
            yield
        finally:
            before, now = override_of(self._pool.raw), self._read()
            if before is not None or now.spec.override is not None:
                set_override(self._api, now, before, force=True)
            self._shell.terminal.clear()

    def steps(self) -> Generator[Pause, None, Report]:
        """Put the pool to sleep, wake it by a request, start all replicas, send the requests."""
        coming = rehearsed(self._pool, self._shell.clock())
        replicas = coming.replicas if coming else 1
        replicas = min(self._options.replicas or replicas, self._pool.spec.max_replicas)
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
        lead = after.spec.lead or after.plan_at(self._shell.clock()).lead
        return Report(
            self._pool.name,
            self._client.route,
            coming.window if coming else "",
            replicas,
            cold,
            warm_seconds,
            lead.total_seconds(),
            [Answer(*result) for result in results],
            seconds,
            self._options.concurrency,
            None if limit is None else duration_of(limit, "--max-p95").total_seconds(),
            restored,
        )

    def _job(self, requests: int, concurrency: int) -> Job:
        return {
            "method": self._options.method or ("GET" if self._options.data is None else "POST"),
            "data": self._options.data,
            "headers": self._headers,
            "requests": requests,
            "concurrency": concurrency,
            # Longer than the activator holds a request, to get the activator's answer.
            "timeout": self._pool.spec.hold_timeout.total_seconds() + 15,
        }

    def _read(self) -> Pool:
        return read_pool(self._api.get(self._pool.path))

    def _set(self, mode: str, replicas: int | None) -> int:
        value = override(
            mode, self._until, by=self._shell.user, reason=REHEARSAL_REASON, replicas=replicas
        )
        force = bool(self._options.force)
        raw = set_override(self._api, self._read(), value, force=force)
        return int(raw["metadata"]["generation"])

    def _put_to_sleep(self) -> Iterator[Pause]:
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

    def _warm(self, replicas: int) -> Generator[Pause, None, float]:
        begin = self._shell.clock()
        generation = self._set("Warm", replicas)
        while not is_warm((pool := self._read()).status, generation):
            if why := hopeless(pool.status, generation):
                raise DemoModeError(f"the demo would have failed: {pool.name}: {why}")
            self._say(f"{pool.status.get('readyReplicas', 0)} of {replicas} Ready")
            self._give_up(begin, f"does not have {replicas} Ready pods", pool)
            yield WAIT
        return (self._shell.clock() - begin).total_seconds()

    def _restored(self, begin: datetime) -> Generator[Pause, None, float | None]:
        """Wait until no pod has smaller requests; None if some do not get them back."""
        while parking_state(pool := self._read()) != "NotParked":
            self._say("restoring the full requests of the pods")
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
