"""Whether kopf shows what there is is known from lists of versions; what it misses is read."""

import asyncio

import pytest
from rows import each

from kotatsu_operator.controller import pool_watch
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.kopf_adapter import LATE_SECONDS
from kotatsu_operator.controller.pool_watch import COMPARE_SECONDS, Look, PoolWatch
from kotatsu_operator.kube.client import WATCH_SECONDS
from kotatsu_operator.kube.connection import TIMEOUT
from kotatsu_operator.kube.informer import STOPPED_SECONDS
from kotatsu_operator.runtime.loop import AGAIN_SECONDS, CHECK_SECONDS
from tests.operator.cluster import VOICE, FakeKube, eventually, keep, served, warm_pool

pytestmark = pytest.mark.timeout(60)


# --- what is missed ---


@each(
    "why, before, later, known, shown, missed",
    [
        ("all was shown", {"a": 5, "b": 7}, {"a": 5, "b": 7}, "ab", {"a": 5, "b": 7}, set()),
        ("an edit was not", {"a": 5, "b": 7}, {"a": 5, "b": 7}, "ab", {"a": 5, "b": 6}, {"b"}),
        ("nor was a new pool", {"a": 5}, {"a": 5}, "", {}, {"a"}),
        ("an edit since the first look has its time", {"a": 5}, {"a": 9}, "a", {"a": 5}, set()),
        ("one with further edits since has had it", {"a": 6}, {"a": 9}, "a", {"a": 5}, {"a"}),
        ("newer than listed: the list is old", {"a": 5}, {"a": 5}, "a", {"a": 9}, set()),
        ("deleted, and that was shown", {"a": 5}, {}, "", {}, set()),
        ("deleted since the first look", {"a": 5}, {}, "a", {"a": 5}, set()),
        ("a deletion was not shown", {}, {}, "a", {"a": 5}, {"a"}),
        ("new since the first look", {}, {"a": 5}, "a", {"a": 5}, set()),
    ],
)
def test_what_was_listed_and_is_not_shown_by_the_next_look_is_missed(
    why, before, later, known, shown, missed
):
    looks = [Look(listed, frozenset(known)) for listed in (before, later)]
    assert looks[0].missed(looks[1], shown) == missed, why


def test_a_pool_that_is_known_only_since_the_second_look_is_not_missed():
    """A list of the API server's cache may be a moment older than what was shown."""
    assert not Look({}, frozenset()).missed(Look({}, frozenset("a")), {"a": 5})


def test_a_watch_that_has_stopped_is_known_within_30_seconds():
    two_looks = 2 * COMPARE_SECONDS
    assert two_looks + CHECK_SECONDS + AGAIN_SECONDS < 30, "whatever stops kopf"
    assert WATCH_SECONDS + LATE_SECONDS <= 25, "kopf leaves a silent connection by itself"
    assert WATCH_SECONDS + TIMEOUT <= 30, "as other watches do"
    assert STOPPED_SECONDS + CHECK_SECONDS <= 30, "or they are started again"


# --- lists ---


def made(*pools):
    """A watch without kopf; what it has in its cache, and what it touches."""
    cache, touches, gone = Cache(served()), [], []

    async def is_gone(pool):
        gone.append(pool["metadata"]["uid"])

    watch = PoolWatch(FakeKube(*pools), cache, touches.append, is_gone)
    watch.restored = gone
    return watch, cache, touches


def again(**spec):
    """A pool that was made again."""
    made_again = warm_pool(uid="another", **spec)
    made_again["metadata"]["resourceVersion"] = "2"
    return made_again


def test_the_deletion_of_a_pool_leaves_the_one_that_was_made_again():
    """kopf has a worker for each uid: the events of both come in any order."""
    watch, cache, _ = made()
    keep(cache, warm_pool(uid="new"))
    watch.forget(VOICE, "old")
    assert list(cache.pools) == [VOICE]
    watch.forget(VOICE, "new")
    assert list(cache.pools) == []


@each(
    "before, meanwhile, left",
    {
        "deleted": ([warm_pool()], [], []),
        "created after the list": ([], [warm_pool()], [VOICE]),
        "created again under its name": ([warm_pool()], [again()], [VOICE]),
    },
)
def test_a_pool_that_the_list_does_not_have_is_removed_if_it_is_older(before, meanwhile, left):
    watch, cache, touches = made()
    keep(cache, *before)
    known = watch.known
    keep(cache, *meanwhile)
    removed = watch.take(known, [])
    assert list(cache.pools) == left
    assert touches == [key for key in [VOICE] if not left]
    assert [pool["metadata"]["uid"] for pool in removed] == ["pool-voice"] * (not left)


async def test_a_listed_pool_that_is_newer_is_stored_and_touched():
    watch, cache, touches = made()
    keep(cache, warm_pool(), warm_pool("feed"))
    newer = warm_pool(suspend=True)
    newer["metadata"]["resourceVersion"] = "2"
    assert not watch.take(watch.known, [newer, warm_pool("feed")])
    assert touches == [VOICE]
    assert cache.pools[VOICE]["spec"]["suspend"]


async def test_a_pool_that_was_made_again_takes_the_place_of_the_one_before():
    watch, cache, touches = made()
    keep(cache, warm_pool())
    removed = watch.take(watch.known, [again()], missed={"another"})
    assert [pool["metadata"]["uid"] for pool in removed] == ["pool-voice"]
    assert cache.uid_of(VOICE) == "another"
    assert set(touches) == {VOICE}


async def test_a_pool_that_was_deleted_during_the_list_stays_away():
    watch, cache, _ = made()
    await watch.show("ADDED", warm_pool())
    known = watch.known
    await watch.show("DELETED", warm_pool())
    watch.take(known, [warm_pool(), warm_pool("feed")])
    assert list(cache.pools) == [], "of feed an event may still come, and may have come"


async def test_a_pool_that_was_shown_and_is_missing_is_stored_as_it_is_listed():
    watch, cache, touches = made()
    await watch.show("ADDED", warm_pool())
    known = watch.known
    cache.forget_pool(VOICE)  # with one of its name
    touches.clear()
    watch.take(known, [warm_pool()])
    assert list(cache.pools) == touches == [VOICE]


# --- the proof ---


@pytest.fixture
async def proved(monkeypatch):
    """Let a watch compare all the time, without kopf."""
    monkeypatch.setattr(pool_watch, "COMPARE_SECONDS", 0.01)
    tasks = []

    async def begin(watch):
        tasks.append(asyncio.create_task(watch._prove()))
        await compared(watch)

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def compared(watch, times=3):
    """Wait for so many comparisons, of which the last ones were begun after this."""
    done = len(watch._kube.called("versions_of")) + times
    await eventually(lambda: len(watch._kube.called("versions_of")) > done)


async def show_all(watch):
    for pool in watch._kube.all("WarmPool"):
        await watch.show("MODIFIED", pool)


async def test_a_watch_that_shows_everything_is_left_alone(proved):
    watch, *_ = made(warm_pool(), warm_pool("feed"))
    await show_all(watch)
    await proved(watch)
    assert not watch.why_blind
    assert not watch._must_restart
    assert not watch._kube.called("find")


async def test_an_edit_that_is_not_shown_is_read_and_restarts_the_watch(proved):
    watch, cache, touches = made(warm_pool())
    await show_all(watch)
    await proved(watch)
    touches.clear()
    watch._kube.edit("WarmPool", "voice", spec={"suspend": True})
    await eventually(lambda: touches == [VOICE])
    assert cache.pools[VOICE]["spec"]["suspend"]
    assert watch._must_restart
    assert watch.why_blind == "the watch of WarmPools misses changes (pools: 1)"
    await compared(watch)
    assert watch.why_blind, "it was read, and not shown"
    await show_all(watch)
    await eventually(lambda: not watch.why_blind)


async def test_a_deletion_that_is_not_shown_is_found_and_the_target_gets_its_replicas(proved):
    watch, cache, _ = made(warm_pool(), warm_pool("feed"))
    await show_all(watch)
    await proved(watch)
    watch._kube.remove("WarmPool", "voice")
    await eventually(lambda: watch.restored == ["pool-voice"])
    assert list(cache.pools) == [("demo", "feed")]
    assert watch._must_restart


async def test_what_the_operator_has_written_itself_is_missed_too_and_is_not_read_again(proved):
    """Its answer is in the cache: it says nothing of the watch."""
    watch, cache, _ = made(warm_pool())
    await show_all(watch)
    cache.keep_pool(watch._kube.edit("WarmPool", "voice", status={"phase": "Warm"}))
    await proved(watch)
    assert watch._must_restart
    assert not watch._kube.called("find")


async def test_while_a_list_is_shown_edits_are_read_and_nothing_is_restarted(proved):
    """Thousands of pools take longer than a comparison."""
    watch, _, touches = made(warm_pool(), warm_pool("feed"))

    async def list_slowly():
        while True:
            await watch.show(None, watch._kube.stored("WarmPool", "feed"))
            await asyncio.sleep(0.002)

    listing = asyncio.create_task(list_slowly())
    await proved(watch)
    assert VOICE in touches
    assert not watch._must_restart
    assert not watch.why_blind
    listing.cancel()
    await asyncio.gather(listing, return_exceptions=True)
    await eventually(lambda: watch._must_restart)


async def test_a_pool_that_is_edited_all_the_time_is_not_missed(proved):
    watch, *_ = made(warm_pool())
    await show_all(watch)
    await proved(watch)
    for number in range(200):
        edited = watch._kube.edit("WarmPool", "voice", spec={"minReplicas": number})
        await asyncio.sleep(0.001)
        await watch.show("MODIFIED", edited)
    assert not watch._must_restart


async def test_a_pool_that_cannot_be_read_was_shown():
    watch, *_ = made()
    odd = warm_pool()
    odd["spec"] = 7
    with pytest.raises(TypeError):
        await watch.show("ADDED", odd)
    assert watch.shown == {"pool-voice": 1}


async def test_an_api_server_that_is_away_says_nothing_of_the_watch(proved):
    watch, *_ = made(warm_pool())
    await show_all(watch)
    watch._kube.down = True
    await proved(watch)
    assert not watch._must_restart
    watch._kube.down = False
    watch._kube.edit("WarmPool", "voice", spec={"suspend": True})
    await eventually(lambda: watch._must_restart)
