"""A pool that goes from one set of activators to another, as a machine of states.

Beside sleep_model.py, which has one set and every part of the way down. Here an activator announces
a request in one step, and a sleep is one write. Each set has one activator; there is one pod and
one request. The pool goes to sleep at most once, and may be given to the other set at any moment.

A guard is an assumption about time: the settle time lasts until kube-proxy has synced. A second one
(`hears_in_time`) is needed only if a pool is given to another set and back, or a pod starts again
meanwhile: the settle time also lasts until an activator's watch has shown that a pool has been
given to others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

POD = 4
"""The bit of the pool's pod among kube-proxy's endpoints. Those of the activators are 1 and 2."""

SETS = (0, 1)


@dataclass(frozen=True)
class HandoverRules:
    """The parts of a handover; each can be left out."""

    stays_until_replaced: bool = True
    """An activator in front leaves a pool that is not its own any more only when the other set, or
    the pool's pods, are endpoints."""
    leaves_after_settling: bool = True
    """And when they have been that for the settle time."""
    ends_when_replaced: bool = True
    """The same for an activator that ends."""
    keeps_the_record: bool = True
    """Its emptied slice stays while it carries a connection of the pool."""
    asks_owners: bool = True
    """Step 4 asks the owners of all slices of the pool, beside the activators of its set."""
    waits_for_the_front: bool = True
    """Step 2: no epoch counts while a slice of another set is Ready."""
    withdraws: bool = True
    """The operator deletes the slice of a lost activator of another set."""
    withdraws_only_lost: bool = True
    """It leaves one that runs to hand over by itself."""
    withdraws_only_replaced: bool = True
    """It waits until the pool has another endpoint."""
    hears_in_time: bool = True
    """The second assumption about time."""


class Pool(NamedTuple):
    """What the status says."""

    set: int = 0
    phase: str = "Warm"
    """Warm, Draining, Asleep or Warming."""
    epoch: int = 0


class Activator(NamedTuple):
    """The activator of a set: what it is, what its watches have shown, and its slice."""

    life: str = "up"
    """up, ending, down (by a fault; it comes back in place), lost (for good) or gone."""
    pool: Pool = Pool()
    pod: bool = True
    other: bool = False
    """Whether the slice of the other set is Ready."""
    slice: str = ""
    """'' (none), ready, leaving (the activator ends), or empty."""
    epoch: int = -1
    """Of its slice."""
    waits: int = -1
    """What the settle time still waits for, as bits: the pool watch of both activators, PROXY and
    ENDPOINTS. -1 before it begins."""

    @property
    def runs(self) -> bool:
        return self.life in ("up", "ending")


class Operator(NamedTuple):
    """Where the operator is on the way down."""

    settles: int = -1
    """As Activator.waits; 0 once the acknowledgement has settled."""
    looks: bool = False
    to_ask: int = 0
    """Those still to be asked in this look, as bits."""
    is_current: bool = False
    """Whether the pool and its scale are as they were read."""
    is_busy: bool = False


class State(NamedTuple):
    """The cluster and the programs at one moment."""

    pool: Pool = Pool()
    changes: int = 1
    """How often the pool may still be given to the other set."""
    demand: bool = False
    slept: bool = False
    """Whether the pool was put to sleep under a request that an activator had passed on."""
    pod: str = "ready"
    """ready, starting, none, or old: it ends, and accepts until kube-proxy has synced."""
    replicas: int = 1
    selects: bool = True
    """Whether the Service leads to the pod. If not, all connections pass the activators, and nobody
    asks the pod."""
    failed: bool = False
    """Whether a fault has taken the pod, until kube-proxy has it again."""
    proxy: int = POD
    operator: Operator = Operator()
    activators: tuple[Activator, Activator] = (Activator(), Activator())
    request: str = "new"
    """new, held, passed (by an activator), direct, lost (a defect), or over."""
    through: int = -1
    ends: bool = False
    """Whether the Deployment of set 0 may still be deleted."""
    faults: int = 0


PROXY, ENDPOINTS = 4, 8
"""Bits of kube-proxy and of an activator's own watch of endpoints, among those that a settle time
waits for. The watches of the pool have 1 and 2."""


class HandoverModel:
    """The steps of a handover under some rules."""

    def __init__(self, rules: HandoverRules | None = None) -> None:
        self.rules = rules or HandoverRules()

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        """Every step that can be taken next."""
        for step, after in self._moves(s):
            yield step, _forgotten(after)

    def _moves(self, s: State) -> Iterator[tuple[str, State]]:
        yield from self._operator(s)
        for n in SETS:
            if s.activators[n].runs:
                yield from self._watch(s, n)
                yield from self._publish(s, n)
                yield from self._serve(s, n)
        yield from self._cluster(s)
        yield from self._client(s)
        yield from self._events(s)

    # --- the operator ---

    def _operator(self, s: State) -> Iterator[tuple[str, State]]:
        pool = s.pool
        if s.changes:
            given = _write(s, set=1 - pool.set)._replace(changes=s.changes - 1)
            yield f"the pool is given to set {1 - pool.set}", given
        if pool.phase == "Warm" and pool.epoch == 0:
            yield "operator drains the pool", _write(s, phase="Draining", epoch=1)
        if pool.phase == "Draining":
            yield from self._drain(s)
        if pool.phase == "Asleep" and (s.demand or s.replicas):
            yield (
                "operator wakes the pool",
                _write(_raised(s), phase="Warming")._replace(demand=False),
            )
        if pool.phase == "Warming" and s.pod == "ready":
            yield "operator calls the pool Warm", _write(s, phase="Warm")
        yield from self._withdraw(s)

    def _drain(self, s: State) -> Iterator[tuple[str, State]]:
        op, at = s.operator, s.pool.set
        if op.looks:
            yield from self._look(s)
            return
        yield "operator aborts the sleep", _write(s, phase="Warm")._replace(demand=False)
        if s.demand:
            yield "operator takes note of the announcement", s._replace(demand=False)
        if not self._is_acknowledged(s):
            if op.settles >= 0:
                yield "operator misses an acknowledgement", _operator(s, settles=-1)
        elif op.settles < 0:
            a, n = s.activators[1 - at], 1 - at
            late = self.rules.hears_in_time and a.runs and a.slice != "ready" and a.pool != s.pool
            settles = _synced(s) | (1 << n) * late
            yield "operator sees the acknowledgement", _operator(s, settles=settles)
        if op.settles == 0 and not s.demand and self._is_acknowledged(s):
            to_ask = 1 << at
            if self.rules.asks_owners and s.activators[1 - at].slice:
                to_ask |= 1 << (1 - at)
            to_ask |= POD * s.selects
            looks = _operator(s, looks=True, to_ask=to_ask, is_current=True, is_busy=False)
            yield "operator reads the pool and its scale", looks

    def _is_acknowledged(self, s: State) -> bool:
        ours, other = s.activators[s.pool.set], s.activators[1 - s.pool.set]
        if self.rules.waits_for_the_front and other.slice == "ready":
            return False
        return ours.life == "up" and ours.slice == "ready" and ours.epoch >= s.pool.epoch

    def _look(self, s: State) -> Iterator[tuple[str, State]]:
        op = s.operator
        for n in SETS:
            if op.to_ask & 1 << n and s.activators[n].runs:
                busy = s.through == n and s.request in (
                    ("held",) if s.selects else ("held", "passed")
                )
                asked = _operator(s, to_ask=op.to_ask & ~(1 << n), is_busy=op.is_busy or busy)
                yield f"operator asks activator {n}", asked
            elif op.to_ask & 1 << n:
                yield f"operator gets no answer of activator {n}", _operator(s, looks=False)
                if n != s.pool.set:  # its slice stays
                    gone = _operator(s, to_ask=op.to_ask & ~(1 << n))
                    yield f"operator knows that activator {n} has gone", gone
        if op.to_ask == POD:
            busy = s.request in ("passed", "direct")
            yield "operator asks the pod", _operator(s, to_ask=0, is_busy=op.is_busy or busy)
        if op.to_ask == 0 and not (op.is_busy or not op.is_current):
            slept = s.slept or s.request == "passed"
            lowered = _write(s, phase="Asleep")._replace(
                replicas=0, slept=slept, operator=Operator()
            )
            pod = "old" if s.pod == "ready" else "none"
            yield "operator puts the pool to sleep", lowered._replace(pod=pod)
        elif op.to_ask == 0:
            yield "operator does not put the pool to sleep", _operator(s, looks=False)

    def _withdraw(self, s: State) -> Iterator[tuple[str, State]]:
        """Delete the slice of a lost activator of another set."""
        rules, n = self.rules, 1 - s.pool.set
        ours, other = s.activators[s.pool.set], s.activators[n]
        is_ours = ours.life == "up" and ours.slice == "ready"
        is_replaced = is_ours or _leads_to_pod(s) or not rules.withdraws_only_replaced
        is_lost = not other.runs or not rules.withdraws_only_lost
        if rules.withdraws and other.slice == "ready" and is_replaced and is_lost:
            life = other.life if other.runs else "lost"  # it does not listen on that port again
            withdrawn = _set(s, n, slice="", waits=-1, life=life)
            yield "operator deletes the slice of the other set", withdrawn

    # --- the activators ---

    def _watch(self, s: State, n: int) -> Iterator[tuple[str, State]]:
        a, other = s.activators[n], s.activators[1 - n]
        if a.pool != s.pool or _is_awaited(s, 1 << n):
            yield f"activator {n} sees the pool", _caught_up(_set(s, n, pool=s.pool), 1 << n)
        if _is_behind(s, n) or (a.waits > 0 and a.waits & ENDPOINTS):
            waits = a.waits & ~ENDPOINTS if a.waits > 0 else a.waits
            there = {"pod": _leads_to_pod(s), "other": other.slice == "ready", "waits": waits}
            yield f"activator {n} sees the endpoints", _set(s, n, **there)

    def _publish(self, s: State, n: int) -> Iterator[tuple[str, State]]:
        a, rules = s.activators[n], self.rules
        is_mine = a.pool.set == n
        wanted = a.pool.phase != "Warm" or not a.pod
        if a.life == "ending":
            if a.slice == "ready":
                yield f"activator {n} says that it ends", _set(s, n, slice="leaving")
            replaced = (a.other or a.pod) and not s.proxy & 1 << n
            busy = s.through == n and s.request in ("held", "passed")
            may_end = replaced or not rules.ends_when_replaced
            if a.slice != "ready" and may_end and not busy:
                yield f"activator {n} ends", _set(s, n, life="gone", slice="")
            return
        if is_mine and wanted and (a.slice != "ready" or a.epoch < a.pool.epoch):
            yield (
                f"activator {n} publishes",
                _set(s, n, slice="ready", epoch=a.pool.epoch, waits=-1),
            )
        if a.slice == "ready":
            native = not wanted and (bool(s.proxy & POD) or not rules.leaves_after_settling)
            if native or (not is_mine and not rules.stays_until_replaced):
                yield f"activator {n} leaves", _set(s, n, slice="empty", waits=-1)
            yield from self._hand_over(s, n)
        carries = s.through == n and s.request in ("held", "passed") and rules.keeps_the_record
        if a.slice == "empty" and not s.proxy & 1 << n and not carries:
            yield f"activator {n} deletes its slice", _set(s, n, slice="")

    def _hand_over(self, s: State, n: int) -> Iterator[tuple[str, State]]:
        a = s.activators[n]
        if a.pool.set == n or not a.other:
            if a.waits >= 0:
                yield f"activator {n} is not replaced any more", _set(s, n, waits=-1)
        elif a.waits < 0:
            late = ENDPOINTS * (self.rules.hears_in_time and _is_behind(s, n))
            yield f"activator {n} sees that it is replaced", _set(s, n, waits=self._lags(s) | late)
        elif a.waits == 0 or not self.rules.leaves_after_settling:
            yield f"activator {n} hands over", _set(s, n, slice="empty", waits=-1)

    def _lags(self, s: State) -> int:
        """Which watches have to catch up before the settle time that begins now is over."""
        behind = [n for n in SETS if s.activators[n].runs and s.activators[n].pool != s.pool]
        late = sum(1 << n for n in behind) if self.rules.hears_in_time else 0
        return _synced(s) | late

    def _serve(self, s: State, n: int) -> Iterator[tuple[str, State]]:
        a = s.activators[n]
        if s.request != "held" or s.through != n:
            return
        announces = a.pool.phase in ("Draining", "Asleep") or a.life == "ending"
        announced = _write(s)._replace(demand=True) if announces else s
        if s.pod == "none" and s.replicas == 0:
            yield f"activator {n} wakes the pool", _raised(_write(s)._replace(demand=True))
        if s.pod == "ready":
            yield f"activator {n} passes the request on", announced._replace(request="passed")

    # --- kubelet, kube-proxy and the client ---

    def _cluster(self, s: State) -> Iterator[tuple[str, State]]:
        if s.pod == "none" and s.replicas:
            yield "the pod starts", s._replace(pod="starting")
        if s.pod == "starting":
            yield "the pod is ready", s._replace(pod="ready")
        now = _endpoints(s)
        if now != s.proxy or _is_awaited(s, PROXY):
            pod = "none" if s.pod == "old" else s.pod
            failed = s.failed and not now & POD
            synced = s._replace(proxy=now, pod=pod, failed=failed)
            yield "kube-proxy syncs", _caught_up(synced, PROXY)

    def _client(self, s: State) -> Iterator[tuple[str, State]]:
        if s.request == "held":
            yield "the client gives up", s._replace(request="over", through=-1)
        if s.request in ("passed", "direct"):
            yield "the request is answered", s._replace(request="over", through=-1)
        if s.request != "new":
            return
        if not s.proxy:
            yield "the client finds no endpoint", s._replace(request="over" if s.failed else "lost")
        if s.proxy & POD:
            where = {"ready": "direct", "old": "over"}.get(s.pod, "over" if s.failed else "lost")
            yield "the client connects to the pod", s._replace(request=where)
        for n in SETS:
            if s.proxy & 1 << n:
                life = s.activators[n].life
                where = "held" if s.activators[n].runs else "lost" if life == "gone" else "over"
                held = s._replace(request=where, through=n if where == "held" else -1)
                yield f"the client connects to activator {n}", held

    # --- what happens to programs and pods ---

    def _events(self, s: State) -> Iterator[tuple[str, State]]:
        if s.ends and s.activators[0].runs:
            yield (
                "the Deployment of set 0 is deleted",
                _set(s._replace(ends=False), 0, life="ending"),
            )
        for n in SETS:
            a = s.activators[n]
            if a.life == "down":
                other = s.activators[1 - n].slice == "ready"
                back = a._replace(
                    life="up", pool=s.pool, pod=_leads_to_pod(s), other=other, waits=-1
                )
                yield f"activator {n} is back", _set(s, n, **back._asdict())
        if not s.faults:
            return
        less = s._replace(faults=s.faults - 1)
        if s.operator != Operator():
            yield "FAULT another operator leads", less._replace(operator=Operator())
        if s.pod == "ready":
            request, through = s.request, s.through
            if request in ("passed", "direct"):
                request, through = "over", -1
            failed = less._replace(pod="starting", failed=True, request=request, through=through)
            yield "FAULT the pod starts again", failed
        for n in SETS:
            if s.activators[n].runs:
                killed = less
                if s.through == n:
                    killed = less._replace(request="over", through=-1)
                yield (
                    f"FAULT activator {n} is killed",
                    _caught_up(_set(killed, n, life="down", waits=-1), 1 << n),
                )


def _endpoints(s: State) -> int:
    """Those that kube-proxy uses: Ready ones, or else those that are ending."""
    ready = POD * _leads_to_pod(s)
    ready |= sum(1 << n for n in SETS if s.activators[n].slice == "ready")
    return ready or POD * (s.pod == "old" and s.selects) | sum(
        1 << n for n in SETS if s.activators[n].slice == "leaving"
    )


def _leads_to_pod(s: State) -> bool:
    return s.selects and s.pod == "ready"


def _is_behind(s: State, n: int) -> bool:
    """Whether an activator's watch has not shown the endpoints as they are."""
    a = s.activators[n]
    return (a.pod, a.other) != (_leads_to_pod(s), s.activators[1 - n].slice == "ready")


def has_endpoint(s: State) -> bool:
    """Whether the Service has an endpoint."""
    return _endpoints(s) != 0


def broken(s: State) -> str:
    """The rule that a state breaks, or ''."""
    if s.request == "lost":
        return "R1: a request is lost"
    if not s.failed and not _endpoints(s):
        return "R1: nobody is an endpoint of the Service"
    if s.slept:
        return "step 5: the pool sleeps under a request that an activator had passed on"
    return ""


def is_handed_over(s: State) -> bool:
    """Whether no activator but that of the pool's set is in front."""
    return s.activators[1 - s.pool.set].slice != "ready"


def _write(s: State, **status: object) -> State:
    pool = s.pool._replace(**status)  # type: ignore[arg-type]
    return _operator(s._replace(pool=pool), is_current=False)


def _raised(s: State) -> State:
    return s if s.replicas else s._replace(replicas=1)


def _operator(s: State, **changes: object) -> State:
    return s._replace(operator=s.operator._replace(**changes))  # type: ignore[arg-type]


def _set(s: State, n: int, **changes: object) -> State:
    activators = list(s.activators)
    activators[n] = activators[n]._replace(**changes)  # type: ignore[arg-type]
    return s._replace(activators=(activators[0], activators[1]))


def _synced(s: State) -> int:
    """PROXY if kube-proxy has to sync before a settle time that begins now is over."""
    return PROXY * (_endpoints(s) != s.proxy)


def _is_awaited(s: State, who: int) -> bool:
    """Whether a settle time waits for an activator or kube-proxy."""
    waits = (s.operator.settles, *(a.waits for a in s.activators))
    return any(bits > 0 and bits & who for bits in waits)


def _caught_up(s: State, who: int) -> State:
    """No settle time waits for an activator or kube-proxy any more: it has seen what is there."""
    for n in SETS:
        if s.activators[n].waits > 0 and s.activators[n].waits & who:
            # What the other one did before it saw the pool has to be seen, too.
            late = ENDPOINTS * (who != PROXY and _is_behind(s, n))
            s = _set(s, n, waits=s.activators[n].waits & ~who | late)
    return _operator(s, settles=s.operator.settles & ~who) if s.operator.settles > 0 else s


def _forgotten(s: State) -> State:
    """A state without what no later step reads."""
    for n in SETS:
        a = s.activators[n]
        if not a.runs:
            s = _set(s, n, pool=Pool(), pod=False, other=False)
        if a.slice != "ready":
            s = _set(s, n, epoch=-1)
    if s.pool.phase in ("Warm", "Warming"):
        s = s._replace(demand=False, operator=Operator())
    elif not s.operator.looks:
        s = _operator(s, to_ask=0, is_current=False, is_busy=False)
    return s._replace(replicas=1) if s.pod in ("ready", "starting") else s
