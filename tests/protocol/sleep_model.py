"""docs/protocol.md as a machine of states: one pool, its operator, two activators, a few requests.

A state is everything that the cluster and the programs remember. `moves` gives every step that any
of them can take next, so exploring all states takes the steps in every possible order:

- An activator decides on what its watches have shown, which may be old by any number of steps. Its
  view of the pool and its view of the pods move on separately.
- The operator's writes name a version. A version is kept as one fact: whether the object has been
  written since the operator read it.
- kube-proxy sends connections to the endpoints of its last sync. The two assumptions about time
  that the protocol makes are guards: the settle time and a pod's preStop both last until kube-proxy
  has synced again.
- The operator may stop at any step, an activator may be killed and come back.

`Rules` switches off one part of the protocol at a time: a model that never fails shows nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

POD, OLD, FAILED = 1, 2, 16
"""Endpoints of kube-proxy: the target's pod, the one before it, which is terminating, and one that
has failed since kube-proxy synced. The activators have the bits between."""

ACTIVATORS = (0, 1)


def endpoint(activator: int) -> int:
    """The bit of an activator among kube-proxy's endpoints."""
    return 4 << activator


@dataclass(frozen=True)
class Rules:
    """The parts of the protocol; each can be left out."""

    waits_for_acknowledgement: bool = True
    """Step 2: every Ready activator has published the epoch before anything else happens."""
    settles: bool = True
    """Step 3: kube-proxy has synced since the acknowledgement."""
    asks_activators: bool = True
    asks_pods: bool = True
    asks_activators_first: bool = True
    """Step 4: a request on its way from an activator to the pod is seen at least once."""
    announces: bool = True
    """Step 5: a request is announced before it is passed on."""
    announces_anew: bool = True
    """Step 5: a write that began before the request came does not count."""
    announces_after_a_look: bool = True
    """Step 5: once an operator has asked, the next request is announced again."""
    counts_looks_from_the_beginning: bool = True
    """A look that asked while an announcement was being written makes the next one necessary."""
    names_pool_version: bool = True
    names_scale_version: bool = True
    """R2: the scale is lowered only at the version that was read."""
    checks_the_lead: bool = True
    """An operator that stood still notices before it writes that another one leads."""
    raises_from_zero: bool = True
    """R3: an activator raises only from 0."""
    publishes_without_pods: bool = True
    """R1: an activator also publishes when no pod is ready, whatever the route."""
    takes_back_what_another_answers: bool = True
    """R1: the endpoint of a lost activator is taken back only where something else answers."""
    leaves_after_settling: bool = True
    """An activator leaves only after kube-proxy has the pod as an endpoint."""
    pre_stop: bool = True
    """Step 7: a pod accepts connections until kube-proxy has synced."""
    drains_when_parked: bool = True
    """A parked pool goes down from step 1, although the activators are in its route."""
    counts_each_way_down: bool = True
    """Step 1 has an epoch of its own, also where the activators have published one while parked."""
    takes_once_published: bool = True
    """R1: the Service leads to the activators alone only once all of them are its endpoints."""
    sleeps_once_taken: bool = True
    """Steps 2 and 3: the Service leads to no pod before the operator looks."""


class Activator(NamedTuple):
    """One activator: what it is, what its watches have shown, what it has published."""

    alive: bool = True
    phase: str = "Warm"
    route: str = "Native"
    epoch: int = 0
    pod_ready: bool = True
    published: int = -1
    """The epoch of its slice in the API; -1 without an endpoint in it."""
    writing: str = ""
    """An announcement on its way: begun, then landed at the API server, then answered (''). Of a
    parked pool, for which no request waits: parked, then answered."""
    announced: int = -1
    """The epoch for which an announcement has been written."""
    asked: bool = True
    """Whether an operator has asked since the last announcement was begun, of those answered."""
    asked_meanwhile: bool = False
    """The same for the announcement under way."""

    @property
    def is_going_down(self) -> bool:
        return self.phase in ("Draining", "Sleeping")


class Request(NamedTuple):
    """One request of a client.

    `where` is new, held, pod, old (the pod before), lost (a defect), or over: answered, given up,
    or ended with the activator or the pod that a fault took. `ticket` is wanted, writing or
    written while held.
    """

    where: str = "new"
    through: int = -1
    ticket: str = ""


class Operator(NamedTuple):
    """Where the operator is on the way down, and what it has read."""

    step: str = ""
    """'' (deciding), looking, looked or announced."""
    pool_is_current: bool = False
    scale_is_current: bool = False
    asked: int = 0
    """Bits of those asked in this look: activators as their endpoints, and the pod."""
    is_busy: bool = False
    """Whether an answer named a request."""


class State(NamedTuple):
    """The cluster and the programs at one moment."""

    phase: str = "Warm"
    route: str = "Native"
    epoch: int = 0
    demand: bool = False
    """Whether the status has an announcement that no decision has taken into account."""
    settled: str = ""
    """acknowledged or settled, for the present epoch."""
    replicas: int = 1
    selects: bool = True
    """Whether the Service leads to the pod."""
    raised: str = ""
    """'again' once an activator has raised a scale that was not 0."""
    lowered: str = ""
    """'blindly' once the scale was lowered although it had been written since it was read."""
    slept: str = ""
    """'under a request' once the sleep was announced while a request that was passed on ran;
    'with a way past' once the pods of a pool that nobody asks could still be reached directly."""
    pod: str = "ready"
    """none, starting, ready or failed (by a fault, and for good)."""
    old: str = ""
    """A terminating pod: known to kube-proxy, then unknown, then gone ('')."""
    proxy: int = POD
    operator: Operator = Operator()
    ghost: Operator = Operator()
    """An operator that stood still while another took over; it ends what it has begun."""
    activators: tuple[Activator, Activator] = (Activator(), Activator())
    requests: tuple[Request, ...] = (Request(), Request())
    faults: int = 0
    """How many faults may still happen."""


class SleepModel:
    """The steps of the protocol under some rules.

    The pods of a pool that is not `metered` are not asked, and all connections pass the activators
    once the operator has taken the selector of its Service. A pool that `parks` may be parked
    whenever it is Warm.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        epochs: int = 1,
        *,
        metered: bool = True,
        parks: bool = False,
    ) -> None:
        self.rules, self.epochs, self.metered = rules or Rules(), epochs, metered
        self.parks = parks
        self.awake_route = "Native" if metered else "Activator"

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Every step that can be taken next.

        Of two states that mirror each other, one is kept. States that differ only in what no later
        step reads are one.
        """
        for step, after in self._moves(state):
            yield step, _in_order(_forgotten(after))

    def _moves(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._operator(state)
        for number in ACTIVATORS:
            if state.activators[number].alive:
                yield from self._activator(state, number)
        yield from self._cluster(state)
        yield from self._clients(state)
        if state.faults:
            yield from self._faults(state)

    # --- the operator ---

    def _operator(self, s: State) -> Iterator[tuple[str, State]]:
        if s.operator.step == "":
            yield from self._decide(s)
        elif s.operator.step == "looking":
            yield from self._ask(s)
        else:
            yield from self._sleep(s, s.operator, "operator")
        if s.ghost.step and self.rules.checks_the_lead:
            yield "ghost stops", s._replace(ghost=Operator())
        elif s.ghost.step:
            yield from self._sleep(s, s.ghost, "ghost")

    def _sleep(self, s: State, op: Operator, name: str) -> Iterator[tuple[str, State]]:
        """Steps 5 and 6, of the operator or of one that stood still before them."""
        done = s._replace(**{name: Operator()})
        if op.step == "looked":
            if op.pool_is_current or not self.rules.names_pool_version:
                passed = any(r.where == "pod" and r.through >= 0 for r in s.requests)
                past = "with a way past" if s.selects and not self.metered else s.slept
                slept = _write(s, phase="Sleeping", slept="under a request" if passed else past)
                after = op._replace(step="announced")
                yield f"{name} announces the sleep", slept._replace(**{name: after})
            else:
                yield f"{name} finds the pool changed", done
        elif op.step == "announced":
            if op.scale_is_current or not self.rules.names_scale_version:
                lowered = s.lowered if op.scale_is_current else "blindly"
                yield f"{name} lowers", _lower(done)._replace(lowered=lowered)
            else:
                yield f"{name} finds the scale changed", done

    def _take(self, s: State) -> Iterator[tuple[str, State]]:
        """Of a pool without a gauge: the route through the activators alone."""
        if s.phase == "Warm" and s.route == "Native":
            joined = _write(s, route="Activator", epoch=s.epoch + 1, settled="")
            yield "operator decides for the activators", joined
        ready = [a for a in s.activators if a.alive]
        is_published = bool(ready) and all(a.published >= s.epoch for a in ready)
        is_led = s.route == "Activator" and (is_published or not self.rules.takes_once_published)
        if s.selects and is_led:
            yield "operator takes the Service", s._replace(selects=False)

    def _decide(self, s: State) -> Iterator[tuple[str, State]]:
        """Steps 1 to 3, and the ways up. The decision is written at the version it was made on."""
        if not self.metered:
            yield from self._take(s)
        if s.phase == "Warm" and s.epoch < self.epochs:
            yield "operator routes to the activators", _drain(s)
            if self.parks:
                epoch = s.epoch + (s.route == "Native")
                parked = _write(s, phase="Parked", route="Activator", epoch=epoch, settled="")
                yield "operator parks the pool", parked
        if s.phase == "Parked":
            yield from self._leave_parked(s)
        if s.phase == "Warming" and s.pod == "ready":
            yield "operator calls the pool Warm", _write(s, phase="Warm", route=self.awake_route)
        if s.phase == "Draining":
            yield (
                "operator aborts the sleep",
                _write(s, phase="Warm", route=self.awake_route, demand=False, settled=""),
            )
            if s.demand:  # when a sleep was asked for, a request does not abort it
                yield "operator takes note of the announcement", _write(s, demand=False)
            if s.settled == "" and self._is_acknowledged(s):
                yield "operator sees the acknowledgement", s._replace(settled="acknowledged")
            enough = ("acknowledged", "settled")[self.rules.settles :]
            if not s.demand and s.settled in enough:
                yield (
                    "operator reads the pool and its scale",
                    s._replace(operator=Operator("looking", True, True)),
                )
        if s.phase in ("Sleeping", "Asleep"):
            if s.replicas or s.demand:
                woken = _write(s, phase="Warming", demand=False)
                if not s.replicas:
                    woken = _raise(woken)
                yield "operator wakes the pool", woken
            if s.replicas and s.epoch < self.epochs:
                yield "operator finishes an interrupted sleep", _drain(s)
            if s.phase == "Sleeping" and not s.replicas and not s.old:
                yield "operator calls the pool Asleep", _write(s, phase="Asleep")

    def _leave_parked(self, s: State) -> Iterator[tuple[str, State]]:
        restored = _write(s, phase="Warm", route=self.awake_route, demand=False)
        yield "operator restores the pool", restored
        if not self.rules.drains_when_parked:
            yield (
                "operator looks at a parked pool",
                s._replace(operator=Operator("looking", True, True)),
            )
        elif not self.rules.counts_each_way_down:
            yield "operator drains with the epoch of the parking", _write(s, phase="Draining")
        elif s.epoch < self.epochs:
            yield "operator drains a parked pool", _drain(s)

    def _is_acknowledged(self, s: State) -> bool:
        if not self.rules.waits_for_acknowledgement:
            return True
        if any(a.published >= 0 for a in s.activators if not a.alive):
            return False  # its clients would be led to a lost activator
        if s.selects and not self.metered and self.rules.sleeps_once_taken:
            return False
        ready = [a for a in s.activators if a.alive]
        return bool(ready) and all(a.published >= s.epoch for a in ready)

    def _ask(self, s: State) -> Iterator[tuple[str, State]]:
        op, rules = s.operator, self.rules
        everybody = sum(endpoint(n) for n in ACTIVATORS) if rules.asks_activators else 0
        for number in ACTIVATORS:
            bit = endpoint(number)
            if everybody & bit & ~op.asked and s.activators[number].alive:
                # Of a pool without a gauge, those that it forwards count too.
                counts = ("held",) if self.metered else ("held", "pod")
                holds = any(r.where in counts and r.through == number for r in s.requests)
                is_writing = s.activators[number].writing != ""
                asked = _set(s, number, asked=True, asked_meanwhile=is_writing)
                yield (
                    f"operator asks activator {number}",
                    asked._replace(
                        operator=op._replace(asked=op.asked | bit, is_busy=op.is_busy or holds)
                    ),
                )
            elif everybody & bit & ~op.asked:
                # Not Ready any more, or silent: then the pool counts as busy.
                yield (
                    f"operator gets no answer of activator {number}",
                    s._replace(operator=Operator()),
                )
                yield (
                    f"operator knows that activator {number} has gone",
                    s._replace(operator=op._replace(asked=op.asked | bit)),
                )
        everybody |= POD if rules.asks_pods and self.metered else 0
        first = everybody & ~POD if rules.asks_activators_first else 0
        if everybody & POD & ~op.asked and first & ~op.asked == 0:
            serves = s.pod == "failed" or any(r.where == "pod" for r in s.requests)
            yield (
                "operator asks the pod",
                s._replace(
                    operator=op._replace(asked=op.asked | POD, is_busy=op.is_busy or serves)
                ),
            )
        if everybody & ~op.asked == 0:
            yield (
                "operator has looked",
                s._replace(operator=Operator() if op.is_busy else op._replace(step="looked")),
            )

    # --- the activators ---

    def _activator(self, s: State, n: int) -> Iterator[tuple[str, State]]:
        a, rules = s.activators[n], self.rules
        yield from self._watch(s, n)
        wants = a.route == "Activator" or (rules.publishes_without_pods and not a.pod_ready)
        if wants and a.published < a.epoch:
            yield f"activator {n} publishes", _set(s, n, published=a.epoch)
        settled = bool(s.proxy & POD) or not rules.leaves_after_settling
        if not wants and a.published >= 0 and settled:
            yield f"activator {n} leaves", _set(s, n, published=-1)
        lost = s.activators[1 - n]
        pod_answers = a.pod_ready and self.metered
        answers = a.published >= 0 or pod_answers or not rules.takes_back_what_another_answers
        if answers and not lost.alive and lost.published >= 0:
            yield f"activator {n} takes the lost one's endpoint back", _set(s, 1 - n, published=-1)
        held = [r for r in s.requests if r.where == "held" and r.through == n]
        if not a.writing and any(r.ticket == "wanted" for r in held):
            began = s._replace(requests=_tickets(s.requests, n, "wanted", "writing"))
            yield (
                f"activator {n} begins an announcement",
                _set(began, n, writing="begun", asked_meanwhile=False),
            )
        if a.writing == "begun":
            landed = _write(s, demand=True)
            yield f"an announcement of activator {n} lands", _set(landed, n, writing="landed")
        if a.writing == "parked":
            yield "a parked pool's announcement lands", _set(_write(s, demand=True), n, writing="")
        if a.writing == "landed":
            done = s._replace(requests=_tickets(s.requests, n, "writing", "written"))
            if not rules.announces_anew:
                done = done._replace(requests=_tickets(done.requests, n, "wanted", "written"))
            asked = a.asked_meanwhile and rules.counts_looks_from_the_beginning
            yield (
                f"activator {n} has announced",
                _set(done, n, writing="", announced=a.epoch, asked=asked, asked_meanwhile=False),
            )
        if held and s.pod == "none" and (s.replicas == 0 or not rules.raises_from_zero):
            raised = _raise(s)._replace(raised=s.raised if s.replicas == 0 else "again")
            if a.phase == "Asleep":  # that tells the operator what an announcement would
                raised = raised._replace(requests=_tickets(raised.requests, n, "wanted", "written"))
                raised = _set(raised, n, announced=a.epoch)
            yield f"activator {n} raises", raised
        for request in {r for r in held if r.ticket == "written"}:
            if s.pod == "ready":
                yield (
                    f"activator {n} passes a request on",
                    _move(s, request, request._replace(where="pod", ticket="")),
                )
            elif s.old and a.pod_ready:  # its watch is late, and the pod still accepts
                yield (
                    f"activator {n} passes a request to the old pod",
                    _move(s, request, request._replace(where="old", ticket="")),
                )

    def _watch(self, s: State, n: int) -> Iterator[tuple[str, State]]:
        a = s.activators[n]
        if (a.phase, a.route, a.epoch) != (s.phase, s.route, s.epoch):
            seen = _set(s, n, phase=s.phase, route=s.route, epoch=s.epoch)
            is_held = any(r.where == "held" for r in s.requests)
            if s.phase in ("Warming", "Warm", "Parked") and is_held:
                # The pool is up, or on its way: nobody needs to be announced.
                for ticket in ("wanted", "writing"):
                    seen = seen._replace(requests=_tickets(seen.requests, n, ticket, "written"))
            yield f"activator {n} sees the pool", seen
        if a.pod_ready != (s.pod == "ready"):
            yield f"activator {n} sees the pods", _set(s, n, pod_ready=s.pod == "ready")

    # --- kubelet, kube-proxy and clients ---

    def _cluster(self, s: State) -> Iterator[tuple[str, State]]:
        if s.pod == "starting":
            yield "the pod is ready", s._replace(pod="ready")
        if s.pod == "none" and s.replicas:
            yield "the pod starts", s._replace(pod="starting")
        leaves = s.old == "unknown" or not self.rules.pre_stop
        if s.old and leaves and not any(r.where == "old" for r in s.requests):
            yield "the old pod is gone", s._replace(old="")
        now = POD * (s.pod == "ready" and s.selects)
        now |= sum(endpoint(n) for n in ACTIVATORS if s.activators[n].published >= 0)
        if now == 0 and s.old and s.selects:
            now = OLD  # kube-proxy uses terminating endpoints when there are no others
        settled = "settled" if s.settled == "acknowledged" else s.settled
        old = s.old and "unknown"
        if (now, settled, old) != (s.proxy, s.settled, s.old):
            yield "kube-proxy syncs", s._replace(proxy=now, settled=settled, old=old)

    def _clients(self, s: State) -> Iterator[tuple[str, State]]:
        if Request() in s.requests:
            for bit in (POD, OLD, *map(endpoint, ACTIVATORS)):
                if s.proxy & bit:
                    yield from self._connect(s, bit)
            if s.proxy & FAILED:
                yield "a client connects to the failed pod", _move(s, Request(), Request("over"))
            if not s.proxy:
                where = "over" if s.pod == "failed" else "lost"
                yield "a client finds no endpoint", _move(s, Request(), Request(where))
        for request in {r for r in s.requests if r.where == "held"}:
            yield "a client gives up", _move(s, request, Request("over"))
        for request in {r for r in s.requests if r.where in ("pod", "old")}:
            yield "a request is answered", _move(s, request, Request("over"))

    def _connect(self, s: State, bit: int) -> Iterator[tuple[str, State]]:
        if bit in (POD, OLD):
            where = "pod" if bit == POD and s.pod == "ready" else "old" if s.old else "lost"
            yield f"a client connects to the {where} pod", _move(s, Request(), Request(where))
            return
        n = 0 if bit == endpoint(0) else 1
        a = s.activators[n]
        if not a.alive:
            yield "a client connects to a dead activator", _move(s, Request(), Request("over"))
            return
        asleep = a.phase == "Asleep" and a.announced != a.epoch
        asked = a.asked and self.rules.announces_after_a_look
        new = asked or a.announced != a.epoch
        wanted = self.rules.announces and ((a.is_going_down and new) or asleep)
        held = Request("held", n, "wanted" if wanted else "written")
        if a.phase == "Parked" and not a.writing:
            s = _set(s, n, writing="parked")
        yield f"a client connects to activator {n}", _move(s, Request(), held)

    # --- faults ---

    def _faults(self, s: State) -> Iterator[tuple[str, State]]:
        less = s._replace(faults=s.faults - 1)
        if s.operator.step:
            yield "FAULT operator starts again", less._replace(operator=Operator())
        if s.operator.step in ("looked", "announced") and not s.ghost.step:
            yield (
                "FAULT operator stands still, another leads",
                less._replace(operator=Operator(), ghost=s.operator),
            )
        if s.operator.step:
            yield "FAULT a person scales the target", _scaled(less)
        if s.pod == "ready":
            killed = tuple(Request("over") if r.where == "pod" else r for r in s.requests)
            proxy = (s.proxy & ~POD) | FAILED * bool(s.proxy & POD)
            yield (
                "FAULT the pod fails",
                less._replace(pod="failed", proxy=proxy, requests=tuple(sorted(killed))),
            )
        for n in ACTIVATORS:
            if s.activators[n].alive:
                killed = tuple(Request("over") if r.through == n else r for r in s.requests)
                gone = less._replace(requests=tuple(sorted(killed)))
                lost = Activator(alive=False, published=s.activators[n].published)
                yield f"FAULT activator {n} is killed", _set(gone, n, **lost._asdict())
            else:
                there = Activator(
                    True, s.phase, s.route, s.epoch, s.pod == "ready", s.activators[n].published
                )
                # Its container starts again in place, and reads everything before it answers.
                yield f"FAULT activator {n} is back", _set(less, n, **there._asdict())


def has_endpoint(s: State) -> bool:
    """Whether the Service has an endpoint: a pod that answers, or an activator."""
    published = any(a.published >= 0 for a in s.activators)
    return published or (s.selects and (s.pod == "ready" or s.old != ""))


def broken(s: State) -> str:
    """The rule that a state breaks, or ''."""
    if any(r.where == "lost" for r in s.requests):
        return "R1: a request is lost"
    if s.pod != "failed" and not has_endpoint(s):
        return "R1: nobody is an endpoint of the Service"
    if s.lowered:
        return "R2: the scale was lowered at another version than the one read"
    if s.raised:
        return "R3: an activator raised a scale that was not 0"
    if s.slept == "with a way past":
        return "step 2: the sleep was announced while connections could pass the activators by"
    if s.slept:
        return "step 5: the sleep was announced under a request that an activator had passed on"
    return ""


# --- parts of a step ---


def _mirrored(s: State) -> State:
    """The same state with the two activators in each other's place."""
    return s._replace(
        proxy=_swapped(s.proxy),
        operator=s.operator._replace(asked=_swapped(s.operator.asked)),
        ghost=s.ghost._replace(asked=_swapped(s.ghost.asked)),
        activators=(s.activators[1], s.activators[0]),
        requests=tuple(
            sorted(r if r.through < 0 else r._replace(through=1 - r.through) for r in s.requests)
        ),
    )


def _swapped(bits: int) -> int:
    first, second = endpoint(0), endpoint(1)
    others = bits & ~(first | second)
    return others | second * bool(bits & first) | first * bool(bits & second)


def _forgotten(s: State) -> State:
    """The same state without what its activators know only for requests that are yet to come."""
    if Request() in s.requests:
        return s
    waits = any(r.ticket in ("wanted", "writing") for r in s.requests)
    for n, a in enumerate(s.activators):
        phase = s.phase if a.alive and not waits else a.phase
        if (a.phase, a.announced, a.asked, a.asked_meanwhile) != (phase, -1, True, False):
            s = _set(s, n, phase=phase, announced=-1, asked=True, asked_meanwhile=False)
    return s


def _in_order(s: State) -> State:
    """Of this state and its mirror image always the same one."""
    first, second = s.activators
    if first < second:
        return s
    mirrored = _mirrored(s)
    return mirrored if second < first else min(s, mirrored)


def _write(s: State, **status: object) -> State:
    """A write of the pool's status: what was read before is not current any more."""
    return s._replace(
        operator=s.operator._replace(pool_is_current=False),
        ghost=s.ghost._replace(pool_is_current=False),
        **status,  # type: ignore[arg-type]
    )


def _drain(s: State) -> State:
    return _write(s, phase="Draining", route="Activator", epoch=s.epoch + 1, settled="")


def _lower(s: State) -> State:
    """Set the scale to 0: the pod terminates, and kube-proxy still sends clients to it."""
    proxy = (s.proxy & ~POD) | OLD * bool(s.proxy & POD)
    requests = tuple(sorted(r._replace(where="old") if r.where == "pod" else r for r in s.requests))
    is_there = s.pod == "ready"
    return _scaled(s)._replace(
        replicas=0,
        pod="none",
        old="known" if is_there else s.old,
        proxy=proxy if is_there else s.proxy,
        requests=requests,
    )


def _raise(s: State) -> State:
    return _scaled(s)._replace(replicas=1)


def _scaled(s: State) -> State:
    """A write of the scale."""
    return s._replace(
        operator=s.operator._replace(scale_is_current=False),
        ghost=s.ghost._replace(scale_is_current=False),
    )


def _set(s: State, n: int, **changes: object) -> State:
    activators = list(s.activators)
    activators[n] = activators[n]._replace(**changes)  # type: ignore[arg-type]
    return s._replace(activators=(activators[0], activators[1]))


def _move(s: State, before: Request, after: Request) -> State:
    requests = list(s.requests)
    requests.remove(before)
    return s._replace(requests=tuple(sorted([*requests, after])))


def _tickets(
    requests: tuple[Request, ...], activator: int, before: str, after: str
) -> tuple[Request, ...]:
    return tuple(
        sorted(
            r._replace(ticket=after)
            if (r.where, r.through, r.ticket) == ("held", activator, before)
            else r
            for r in requests
        )
    )
