"""A request is announced before it is forwarded on the way down."""

import asyncio
from itertools import pairwise

import pytest

from kotatsu_operator.activator import wake
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.activator.in_process import pool
from tests.operator.activator.test_wake import body
from tests.operator.cluster import activator_pod, eventually

pytestmark = pytest.mark.timeout(60)


async def test_a_request_that_raises_an_asleep_pool_needs_no_announcement(activator, monkeypatch):
    """The raise tells the operator the same."""
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 60.0)
    activator.hold()
    await eventually(lambda: activator.raises)
    activator.hold()
    await activator.held(2)
    made = activator.connections._announcements
    await eventually(lambda: made.covers(made._wanted))
    assert (activator.raises, activator.announcements) == (1, [])


async def test_an_asleep_pool_that_another_has_raised_is_announced_once_for_each_epoch(activator):
    activator.kube.edit("Deployment", "voice", spec={"replicas": 1})
    activator.hold()
    await activator.announced(1)
    for _ in range(3):
        activator.hold()
    await activator.held(4)
    assert len(activator.announcements) == 1
    activator.see("WarmPool", pool(epoch=2))
    activator.hold()
    await activator.announced(2)


async def test_an_asleep_pool_whose_pod_runs_is_announced_at_once(activator, monkeypatch):
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 60.0)
    await activator.new_pod(ready=True)
    assert body(await activator.ask()) == b"voice-1"
    assert len(activator.announcements) == 1


async def test_an_announcement_that_nobody_waited_for_is_made_by_the_next_request(activator):
    activator.kube.edit("Deployment", "voice", spec={"replicas": 1})
    activator.kube.down = True
    _, writer = await activator.send()
    await eventually(lambda: activator.announcements)
    writer.close()
    await activator.held(0)
    await eventually(lambda: activator.connections._announcements.task.done())
    activator.kube.down = False
    activator.kube.calls.clear()
    activator.hold()
    await eventually(lambda: activator.announcements)


@pytest.mark.parametrize("phase", ["Draining", "Sleeping"])
async def test_on_the_way_down_a_request_is_announced_before_it_is_passed_on(activator, phase):
    activator.see("WarmPool", pool(phase))
    made = await activator.new_pod(ready=True)
    gate = activator.hold_announcements()
    waiting = activator.hold()
    await activator.announced(1)
    await asyncio.sleep(0.05)
    assert made.requests == []
    gate.release()
    assert body(await waiting) == b"voice-1"


@pytest.mark.parametrize("phase", ["Draining", "Sleeping"])
async def test_a_write_under_way_does_not_announce_a_request_that_comes_meanwhile(activator, phase):
    activator.see("WarmPool", pool(phase))
    made = await activator.new_pod(ready=True)
    gate = activator.hold_announcements()
    first = activator.hold()
    await activator.announced(1)
    second, third = activator.hold(), activator.hold()
    await activator.held(3)
    gate.release()
    assert body(await first) == b"voice-1"
    await activator.announced(2)
    await asyncio.sleep(0.05)
    assert (second.done(), len(made.requests)) == (False, 1)
    gate.release()
    await asyncio.gather(second, third)
    assert len(activator.announcements) == 2


async def test_announcements_leave_the_operator_ever_more_room(activator):
    """It decides by versions: where requests come faster than it looks, it would never get on."""
    written, loop = [], asyncio.get_running_loop()
    activator.kube.on("patch_status", lambda *_: written.append(loop.time()))
    activator.see("Pod", activator_pod())
    activator.see("WarmPool", pool("Draining", epoch=1))
    await activator.new_pod(ready=True)
    while len(written) < 4:
        activator.connections.asked()
        await activator.ask()
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert all(gap > least for gap, least in zip(gaps, (0.04, 0.09, 0.19), strict=True)), gaps
    # Another way down begins with one that waits for nothing.
    activator.see("WarmPool", pool("Draining", epoch=2))
    await activator.ask()
    assert activator.connections._announcements._pause == 2 * wake.FIRST_PAUSE


@pytest.fixture
async def draining(activator):
    """An activator that is Ready, with a pool that stays in Draining and has a pod."""
    activator.see("Pod", activator_pod())
    activator.see("WarmPool", pool("Draining"))
    await activator.new_pod(ready=True)
    return activator


async def test_while_no_operator_looks_one_announcement_serves_every_connection(draining):
    answers = [body(await draining.ask()) for _ in range(20)]
    assert (answers, len(draining.announcements)) == ([b"voice-1"] * 20, 1)


async def test_what_comes_after_the_operator_has_asked_is_announced_once_more(draining):
    await draining.ask()
    draining.connections.asked()
    for _ in range(2):
        await draining.ask()
    assert len(draining.announcements) == 2


async def test_a_question_during_the_announcement_counts_as_one_after_it(draining):
    """The operator may have read the version that the announcement has just made."""
    draining.kube.on("patch_status", lambda *_: draining.connections.asked())
    for number in range(1, 4):
        await draining.ask()
        assert len(draining.announcements) == number


@pytest.mark.parametrize("how", [{"ready": False}, {"terminating": True}])
async def test_an_activator_that_looks_may_leave_out_announces_each_connection(draining, how):
    draining.see("Pod", activator_pod(**how))
    for number in range(1, 4):
        await draining.ask()
        assert len(draining.announcements) == number


async def test_an_announcement_covers_nobody_for_ever(draining, monkeypatch):
    monkeypatch.setattr(wake, "COVERS_FOR", 0.0)
    await draining.ask()
    await draining.ask()
    assert len(draining.announcements) == 2


async def test_each_phase_of_a_way_down_is_announced_once(draining):
    await draining.ask()
    draining.see("WarmPool", pool("Sleeping"))
    await draining.ask()
    await draining.ask()
    draining.see("WarmPool", pool("Draining", epoch=2))
    await draining.ask()
    await draining.ask()
    assert len(draining.announcements) == 3


async def test_a_question_now_and_then_does_not_make_the_pause_grow(draining, monkeypatch):
    monkeypatch.setattr(wake, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(wake, "FIRST_PAUSE", 0.01)
    for _ in range(4):
        await draining.ask()
        draining.connections.asked()
        await asyncio.sleep(0.15)
    assert draining.connections._announcements._pause == 2 * wake.FIRST_PAUSE


@pytest.mark.parametrize("phase", ["Warm", "Parked"])
async def test_who_waits_to_be_announced_goes_on_as_soon_as_the_pool_is_up_again(activator, phase):
    activator.see("WarmPool", pool("Draining"))
    activator.kube.on("patch_status", OSError("away"))
    await activator.new_pod(ready=True)
    waiting = activator.hold()
    await eventually(lambda: activator.announcements)
    activator.see("WarmPool", pool(phase))
    assert body(await waiting) == b"voice-1"


async def test_an_announcement_that_fails_is_written_again_before_anything_passes(activator):
    activator.see("WarmPool", pool("Draining"))
    made = await activator.new_pod(ready=True)
    failing = iter([OSError("away"), ConflictError("modified")])

    def fail(*_):
        assert made.requests == []
        for error in failing:
            raise error

    activator.kube.on("patch_status", fail)
    assert body(await activator.ask()) == b"voice-1"
    assert len(activator.announcements) == 3


async def test_a_deleted_pools_request_is_passed_on_though_nobody_can_be_told(activator):
    activator.see("WarmPool", pool("Sleeping"), "DELETED")
    activator.kube.on("patch_status", NotFoundError("gone"))
    await activator.new_pod(ready=True)
    assert body(await activator.ask()) == b"voice-1"


def depending(**wake):
    made = pool(**wake)
    made["spec"]["dependsOn"] = ["auth", "feed"]
    made["status"]["conditions"] = [{"type": "Accepted", "status": "True"}]
    return made


async def test_a_pool_is_not_raised_before_each_pool_answers_on_which_it_depends(activator):
    activator.see("WarmPool", depending())
    activator.answering.add("auth")
    activator.hold()
    await eventually(lambda: activator.needed == {"auth", "feed"})
    await asyncio.sleep(0.1)
    assert activator.raises == 0
    activator.answering.add("feed")
    await eventually(lambda: activator.raises == 1)


async def test_a_request_that_waits_too_long_for_another_pool_is_told_its_name(activator):
    activator.see("WarmPool", depending())
    activator.answering.add("auth")
    waiting = activator.hold()
    await eventually(lambda: activator.connections._waker.awaits == ["feed"])
    activator.see("WarmPool", depending(holdTimeout="1ms"))
    assert b"it waits for WarmPool feed (spec.dependsOn)" in await waiting


async def test_a_pool_that_another_one_needs_is_raised_once(activator, monkeypatch):
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 60.0)
    assert not activator.connections.need()
    assert not activator.connections.need()
    await eventually(lambda: activator.raises)
    await activator.new_pod(ready=True)
    await eventually(activator.connections.need)
    assert (activator.raises, activator.announcements) == (1, [])


async def test_a_pool_that_another_one_needs_has_a_request_for_a_check(activator):
    await activator.new_pod(ready=True)
    activator.connections.need()
    assert activator.count("kotatsu_activator_held") == 1


async def test_a_pool_on_its_way_down_is_there_for_another_one_once_that_is_announced(activator):
    await activator.new_pod(ready=True)
    activator.see("WarmPool", pool("Draining"))
    assert not activator.connections.need()
    await eventually(activator.connections.need)
    assert len(activator.announcements) == 1
