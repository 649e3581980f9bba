"""Who leads: each rule by itself, then contenders with crashes, partitions and wrong clocks."""

import heapq
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.controller.election import (
    TIMES,
    Action,
    Candidate,
    Lease,
    judge,
    leads,
    pause,
    read_spec,
    released,
    taken,
    write_spec,
    written,
)
from tests.operator.core.values import examples

ME, OTHER = "operator-a", "operator-b"
NOON = datetime(2026, 11, 25, 12, 0, 0, 250_000, tzinfo=UTC)
THEIRS = Lease(OTHER, 10.0, transitions=3, renewed="noon")
MINE = replace(THEIRS, holder=ME)
FREE = replace(THEIRS, holder="", duration=1.0)


def waiting(lease, since):
    return Candidate(lease, since)


def leading(since, lease=MINE):
    return Candidate(lease, since, renewed_at=since)


@each(
    "lease, candidate, now, action",
    [
        (None, Candidate(), 0, Action.ACQUIRE),
        (FREE, Candidate(), 0, Action.ACQUIRE),
        (read_spec({}), Candidate(), 0, Action.ACQUIRE),
        (FREE, waiting(THEIRS, 0), 1, Action.ACQUIRE),
        (MINE, Candidate(), 0, Action.ACQUIRE),
        (THEIRS, Candidate(), 0, Action.WAIT),
        (THEIRS, waiting(THEIRS, 0), 9.9, Action.WAIT),
        (THEIRS, waiting(THEIRS, 0), 10, Action.ACQUIRE),
        (replace(THEIRS, renewed="later"), waiting(THEIRS, 0), 10, Action.WAIT),
        (None, waiting(THEIRS, 0), 9.9, Action.WAIT),
        (None, waiting(THEIRS, 0), 10, Action.ACQUIRE),
        (MINE, leading(0), 1.9, Action.HOLD),
        (MINE, leading(0), 2, Action.RENEW),
        (None, leading(0), 1, Action.RENEW),
        (THEIRS, leading(0), 1, Action.LOST),
        (FREE, leading(0), 1, Action.LOST),
        (MINE, leading(0), 6, Action.LOST),
    ],
)
def test_what_is_done_about_a_lease(lease, candidate, now, action):
    assert judge(lease, ME, candidate, now, TIMES)[0] is action


def test_who_lost_it_may_not_act_and_has_to_begin_anew():
    _, candidate = judge(THEIRS, ME, leading(0), 1, TIMES)
    assert not leads(candidate, 1, TIMES)
    assert judge(THEIRS, ME, candidate, 1.1, TIMES)[0] is Action.WAIT


def test_a_leader_may_act_until_its_deadline_and_that_is_before_anybody_may_take_over():
    assert leads(leading(0), 5.9, TIMES)
    assert not leads(leading(0), 6, TIMES)
    assert TIMES.renew_deadline + 2 < TIMES.lease


def test_taking_over_counts_and_renewing_does_not():
    took = taken(THEIRS, ME, NOON, 10)
    assert (took.holder, took.transitions) == (ME, 4)
    again = taken(took, ME, NOON.replace(second=2), 10)
    assert (again.transitions, again.acquired) == (4, took.acquired)
    assert again.renewed > took.renewed


def test_it_is_written_as_other_programs_read_leases():
    assert write_spec(taken(None, ME, NOON, 10)) == {
        "holderIdentity": ME,
        "leaseDurationSeconds": 10,
        "leaseTransitions": 0,
        "acquireTime": "2026-11-25T12:00:00.250000Z",
        "renewTime": "2026-11-25T12:00:00.250000Z",
    }


@pytest.mark.parametrize("lease", [taken(THEIRS, ME, NOON, 10), released(MINE, NOON)])
def test_what_was_written_is_read_back(lease):
    spec = {name: value for name, value in write_spec(lease).items() if value is not None}
    assert write_spec(read_spec(spec)) == write_spec(lease)


# --- contenders ---


@dataclass
class Server:
    """One Lease with its version."""

    lease: Lease | None = None
    version: int = 0

    def write(self, lease, version):
        if version != self.version:
            return False
        self.lease, self.version = lease, version + 1
        return True


@dataclass
class Contender:
    """One operator: its clock is off by `skew` seconds, and runs at the same rate."""

    name: str
    skew: float
    cut: tuple[tuple[float, float], ...] = ()
    """When it cannot reach the API server."""
    dies_at: float = float("inf")
    candidate: Candidate = field(default_factory=Candidate)

    def clock(self, now):
        return now + self.skew

    def reaches(self, now):
        return not any(begin <= now < end for begin, end in self.cut)

    def acts(self, now):
        return now < self.dies_at and leads(self.candidate, self.clock(now), TIMES)


class Simulation:
    """Reads, writes and answers, each taking its time; who acts is asked after every event."""

    def __init__(self, contenders, delays, until):
        self.server, self.contenders, self.until = Server(), contenders, until
        self.delays = itertools.cycle(delays)
        self.count = itertools.count()
        self.events = []
        self.leaders = []
        """(time, names of those who act)."""
        for contender in contenders:
            self.at(next(self.delays), self.read, contender)

    def at(self, when, act, *details):
        heapq.heappush(self.events, (when, next(self.count), act, details))

    def run(self):
        while self.events and self.events[0][0] < self.until:
            when, _, act, (contender, *details) = heapq.heappop(self.events)
            if when < contender.dies_at:
                act(when, contender, *details)
            # Two act at once from the moment the second one begins to: that is an event.
            acting = [c.name for c in self.contenders if c.acts(when)]
            self.leaders.append((when, acting))
        return self

    def read(self, now, contender):
        if not contender.reaches(now):
            return self.at(now + 1.0, self.read, contender)
        lease, version = self.server.lease, self.server.version
        return self.at(now + next(self.delays), self.decide, contender, lease, version)

    def decide(self, now, contender, lease, version):
        clock = contender.clock(now)
        action, contender.candidate = judge(
            lease, contender.name, contender.candidate, clock, TIMES
        )
        if action in (Action.ACQUIRE, Action.RENEW):
            new = taken(lease, contender.name, NOON.replace(microsecond=0), TIMES.lease)
            new = replace(new, renewed=f"{clock}")
            self.at(now + next(self.delays), self.write, contender, new, version, clock)
        else:
            wait = pause(contender.name, contender.candidate, clock, TIMES)
            self.at(now + wait, self.read, contender)

    def write(self, now, contender, new, version, sent_at):
        done = contender.reaches(now) and self.server.write(new, version)
        self.at(now + next(self.delays), self.answered, contender, new, sent_at, done)

    def answered(self, now, contender, new, sent_at, done):
        if done and contender.reaches(now):
            contender.candidate = written(contender.candidate, new, sent_at)
            wait = pause(contender.name, contender.candidate, contender.clock(now), TIMES)
            self.at(now + wait, self.read, contender)
        else:
            self.at(now + 0.1, self.read, contender)


delays = st.lists(st.floats(0.001, 3.0), min_size=1, max_size=12)
skews = st.floats(-1e6, 1e6).map(lambda s: round(s, 3))


@st.composite
def cuts(draw):
    times = sorted(draw(st.lists(st.floats(0, 120), max_size=6)))
    return tuple(zip(times[::2], times[1::2], strict=False))


@examples(300)
@given(delays, skews, skews, cuts(), cuts(), st.floats(0, 120))
@example([3.0, 0.001], 0.0, 0.0, ((20.0, 60.0),), (), 120.0)
def test_two_never_act_at_once_whatever_clocks_networks_and_crashes_do(
    delays, skew, other_skew, cut, other_cut, dies_at
):
    contenders = [Contender(ME, skew, cut, dies_at), Contender(OTHER, other_skew, other_cut)]
    ran = Simulation(contenders, delays, until=150).run()
    assert all(len(acting) <= 1 for _, acting in ran.leaders)


@examples(200)
@given(st.lists(st.floats(0.001, 0.4), min_size=1, max_size=12), skews, st.floats(10, 60))
def test_a_leader_that_dies_is_followed_within_fifteen_seconds(delays, skew, dies_at):
    contenders = [Contender(ME, 0.0, (), dies_at), Contender(OTHER, skew, ((0, 5),))]
    ran = Simulation(contenders, delays, until=120).run()
    assert any(acting == [ME] for when, acting in ran.leaders if when < dies_at)
    (followed, *_) = [when for when, acting in ran.leaders if acting == [OTHER]]
    assert dies_at < followed <= dies_at + 15
