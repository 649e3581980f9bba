"""Leading and standing by, against an API server: the Lease as it is written, work as it ends."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.election import LONGEST, PATIENCE, TIMES, Times
from kotatsu_operator.controller.elector import HUNG_AFTER, LEASE_NAME, Elector
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.cluster import FakeKube, eventually, forbidden

pytestmark = pytest.mark.timeout(60)

SOON = Times(lease=10.0, renew_deadline=6.0, retry=0.01)


class Clock:
    """Seconds that tests let pass."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kube():
    return FakeKube()


@pytest.fixture
def contender(kube, clock):
    def make(name="operator-a", times=TIMES):
        return Elector(kube, ("demo", name), CollectorRegistry(), times=times, clock=clock)

    return make


@pytest.fixture
async def leader(contender):
    made = contender()
    await made.turn()
    return made


def lease(kube):
    return kube.stored("Lease", LEASE_NAME)["spec"]


def told(elector):
    return elector._metric._value.get()


async def test_the_other_takes_it_when_it_has_not_been_renewed(kube, contender, clock):
    one, two = contender(), contender("operator-b")
    await one.turn()
    pause = await two.turn()
    assert pause == TIMES.retry
    assert one.leads
    clock.now += 10
    assert not one.leads
    await two.turn()
    assert two.leads
    assert lease(kube) | {"holderIdentity": "operator-b", "leaseTransitions": 1} == lease(kube)


async def test_a_leader_without_an_api_server_leads_until_its_deadline_and_no_longer(
    kube, leader, clock
):
    kube.down = True
    clock.now += 5.5
    pause = await leader.turn()
    assert leader.leads
    assert pause == pytest.approx(0.5)
    clock.now += pause
    await leader.turn()
    assert not leader.leads


async def test_who_lets_go_is_followed_at_once(kube, contender):
    one, two = contender(), contender("operator-b")
    await one.turn()
    await two.turn()
    await one.release()
    assert not one.leads
    assert lease(kube)["holderIdentity"] == ""
    await two.turn()
    assert two.leads


async def test_somebody_elses_lease_is_not_let_go_of(kube, contender, clock):
    one, two = contender(), contender("operator-b")
    await one.turn()
    await two.turn()
    clock.now += 10
    await two.turn()
    await one.release()
    assert lease(kube)["holderIdentity"] == "operator-b"


async def test_letting_go_without_an_api_server_is_not_waited_for(kube, leader, caplog):
    kube.down = True
    await leader.release()
    assert "expires by itself" in caplog.text


class Work:
    """What a leader does: nothing, for as long as it is let."""

    def __init__(self):
        self.begun = self.ended = 0
        self.error = None

    async def __call__(self):
        self.begun += 1
        try:
            if self.error:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.ended += 1


@pytest.fixture
async def running(contender):
    tasks = []

    def run(elector, work):
        tasks.append(asyncio.create_task(elector.run(work)))
        return tasks[-1]

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_work_begins_with_the_lease_and_ends_with_it(kube, contender, running):
    one, work = contender(times=SOON), Work()
    running(one, work)
    await eventually(lambda: work.begun == 1)
    assert told(one) == 1
    kube.edit("Lease", LEASE_NAME, spec={"holderIdentity": "operator-b"})
    await eventually(lambda: work.ended == 1)
    await eventually(lambda: told(one) == 0)
    kube.edit("Lease", LEASE_NAME, spec={"holderIdentity": ""})
    await eventually(lambda: work.begun == 2)


async def test_work_is_stopped_at_the_deadline_however_long_a_renewal_hangs(
    kube, contender, running, clock, monkeypatch
):
    monkeypatch.setattr("kotatsu_operator.controller.elector._CALL_SECONDS", 0.05)
    one, work = contender(times=SOON), Work()
    running(one, work)
    await eventually(lambda: work.begun == 1)
    kube.on("get", lambda *_: asyncio.Event().wait())
    clock.now += 6
    await eventually(lambda: work.ended == 1)
    kube.on("get", None)  # so that the Lease is released without a wait


async def test_at_the_end_work_is_stopped_before_the_lease_is_let_go_of(kube, contender, running):
    one, work = contender(times=SOON), Work()
    task = running(one, work)
    await eventually(lambda: work.begun == 1)
    seen = []
    kube.on("replace", lambda _, obj: seen.append((obj["spec"]["holderIdentity"], work.ended)))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen[-1] == ("", 1)


async def test_work_that_fails_ends_the_process_and_leaves_the_lease_free(kube, contender, running):
    one, work = contender(times=SOON), Work()
    work.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        await running(one, work)
    assert lease(kube)["holderIdentity"] == ""


async def test_a_lease_written_by_somebody_else_in_between_is_read_again_soon(kube, leader):
    kube.on("create", ConflictError("modified"), times=1)
    kube.remove("Lease", LEASE_NAME)
    assert await leader.turn() < 1
    await leader.turn()
    assert lease(kube)["holderIdentity"] == "operator-a"


# --- in a thread of its own ---


def busy(until):
    """Hold the event loop, as work in Python does."""
    give_up = time.monotonic() + 15
    while not until():
        assert time.monotonic() < give_up
        sum(range(1000))


QUICK = Times(lease=10.0, renew_deadline=6.0, retry=0.05)


async def test_work_that_holds_the_loop_does_not_cost_the_lease(kube, running):
    one = Elector(kube, ("demo", "operator-a"), CollectorRegistry(), times=QUICK)
    work = Work()
    running(one, work)
    await eventually(lambda: work.begun == 1)
    before = len(kube.called("replace"))
    busy(until=lambda: len(kube.called("replace")) >= before + 5)
    assert one.leads
    await asyncio.sleep(0.1)
    assert (work.begun, work.ended) == (1, 0)


async def test_a_loop_that_stands_still_for_long_loses_the_lease(kube, clock, caplog):
    late = 0.0
    one = Elector(kube, ("demo", "operator-a"), CollectorRegistry(), clock=clock, late=lambda: late)
    two = Elector(kube, ("demo", "operator-b"), CollectorRegistry(), clock=clock)
    await one.turn()
    await two.turn()
    late = HUNG_AFTER + 1
    clock.now += 2
    await one.turn()
    assert not one.leads
    assert "blocked for 31 s: no longer renewing the Lease" in caplog.text
    clock.now += TIMES.lease
    await one.turn()
    assert not one.leads
    await two.turn()
    assert two.leads


async def test_what_was_begun_in_one_term_does_not_go_on_in_the_next(
    kube, contender, running, clock
):
    """Another may have led between the two, whatever the loop has seen of that."""
    one, work = contender(times=SOON), Work()
    running(one, work)
    await eventually(lambda: work.begun == 1)
    one._terms += 1
    await eventually(lambda: (work.begun, work.ended) == (2, 1))


async def test_a_bug_in_keeping_the_lease_ends_the_operator(kube, contender, running):
    kube.on("get", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await running(contender(times=SOON), Work())


# --- after an outage ---


@pytest.mark.parametrize("stands_by", [False, True], ids=["leading", "standing by"])
async def test_after_an_outage_the_rest_of_the_cluster_has_to_catch_up(
    kube, contender, clock, caplog, stands_by
):
    one = contender()
    if stands_by:
        await contender("operator-b").turn()
    await one.turn()
    kube.down = True
    for _ in range(60):
        clock.now += 1
        await one.turn()
    assert one.catching_up() == LONGEST
    kube.down = False
    clock.now += 1
    await one.turn()
    assert one.catching_up() == LONGEST
    assert "responds again" in caplog.records[-1].message
    clock.now += LONGEST - 1
    assert one.catching_up() == 1


@pytest.mark.parametrize("error", [ConflictError, NotFoundError])
async def test_a_refusal_is_an_answer_too(kube, leader, clock, error):
    kube.down = True
    clock.now += 2
    await leader.turn()
    kube.down = False
    kube.on("replace", error("Lease"))
    clock.now += 1
    await leader.turn()
    assert 0 < leader.catching_up() < LONGEST


async def test_one_slow_answer_of_the_api_server_is_no_outage(kube, leader, clock):
    kube.on("get", TimeoutError())
    clock.now += 3
    await leader.turn()
    assert leader.catching_up() == 0
    clock.now += PATIENCE
    await leader.turn()
    assert leader.catching_up() == LONGEST


@pytest.mark.parametrize(
    ("error", "asked"), [(OSError("reset"), ["Lease", "ConfigMap"]), (forbidden(), ["Lease"])]
)
async def test_a_broken_endpoint_or_a_missing_right_is_no_outage(kube, leader, clock, error, asked):
    def fail(kind, *_):
        if kind == "Lease":
            raise error

    kube.on("get", fail)
    for _ in range(60):
        clock.now += 1
        await leader.turn()
        assert leader.catching_up() == 0
    assert [call[1] for call in kube.called("get")[1 : 1 + len(asked)]] == asked


async def test_a_second_question_does_not_outlast_the_lease(kube, leader, clock, monkeypatch):
    monkeypatch.setattr("kotatsu_operator.controller.elector._OTHER_CALL_SECONDS", 0.01)
    hung = asyncio.Event()

    async def hang(kind, *_):
        if kind == "Lease":
            raise OSError("reset")
        await hung.wait()

    kube.on("get", hang)
    clock.now += 2
    await leader.turn()
    assert leader.leads
