"""The story: what each moment means, told with a clock that the test moves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from rows import each

from kotatsu_demo.answers import Answer
from kotatsu_demo.errors import DemoError
from kotatsu_demo.snapshot import Cost, Snapshot
from kotatsu_demo.story import Act, Story, Wish
from kotatsu_demo.windows import Window

START = datetime(2026, 11, 24, 17, 41, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(seconds=20))
ASLEEP = Snapshot(phase="Asleep")
WARMING = Snapshot(phase="Warming", desired=2, pods=2)
READY = Snapshot(
    phase="Warm", ready=2, desired=2, pods=2,
    opens_at=START, ready_at=START - timedelta(seconds=9.4),
)  # fmt: skip
DRAINING = replace(READY, phase="Draining")
SLEEPING = Snapshot(phase="Sleeping", pods=2)
ANSWER = Answer(seconds=0.5, audio=b"")


def at(seconds: float) -> datetime:
    """Seconds from the window's opening."""
    return START + timedelta(seconds=seconds)


def told_until(*moments: tuple[float, Snapshot]) -> tuple[Story, list[str]]:
    story = Story(WINDOW, "build/demo/kotatsu.mp3")
    names = [e.name for seconds, seen in moments for e in story.see(seen, at(seconds))]
    return story, names


TO_READY = ((-58, ASLEEP), (-20, WARMING), (-9, READY))
TO_OPEN = (*TO_READY, (0.1, READY))
TO_CLOSE = (*TO_OPEN, (20.1, READY))


def test_it_is_told_in_order():
    story, names = told_until(*TO_CLOSE, (20.3, DRAINING), (26, SLEEPING), (33, ASLEEP))
    assert names == [
        "asleep", "warming", "ready", "open", "closed", "draining", "sleeping", "asleep_again",
    ]  # fmt: skip
    assert story.hear(Wish.WAKE, ANSWER, READY).name == "woken"
    assert story.act is Act.DONE


def test_a_moment_that_brings_nothing_new_makes_no_event():
    _, names = told_until((-58, ASLEEP), (-57, ASLEEP), (-20, WARMING), (-19, WARMING))
    assert names == ["asleep", "warming"]


def test_several_events_of_one_moment_all_are_told():
    _, names = told_until(*TO_OPEN, (20.1, DRAINING))
    assert names[-2:] == ["closed", "draining"]


def test_how_early_the_pods_are_is_taken_from_the_status():
    story = Story(WINDOW, "")
    for seconds, seen in TO_READY[:-1]:
        story.see(seen, at(seconds))
    (event,) = story.see(READY, at(-3))
    assert event.facts == {"early_seconds": 9.4}
    assert "9.4 s before the window opens" in event.text


def test_an_earlier_opening_of_the_pool_says_nothing_of_this_window():
    story, _ = told_until(*TO_READY[:-1])
    yesterday = replace(READY, opens_at=START - timedelta(days=1))
    assert story.see(yesterday, at(-3)) == []


def test_pods_that_are_not_ready_at_the_opening_are_late_and_it_says_so():
    story, _ = told_until(*TO_READY[:-1])
    (late,) = story.see(WARMING, at(0.1))
    assert late.name == "late"
    ready, opened = story.see(replace(READY, ready_at=at(4)), at(4))
    assert "4.0 s LATE" in ready.text
    assert opened.name == "open"


def test_it_asks_for_speech_when_the_window_opens_and_for_a_wake_when_all_is_asleep():
    story, _ = told_until(*TO_READY)
    assert story.wish is None
    story.see(READY, at(0.1))
    assert story.wish is Wish.SPEAK
    story.wish = None
    for seconds, seen in ((20.1, READY), (26, SLEEPING)):
        story.see(seen, at(seconds))
        assert story.wish is None
    story.see(ASLEEP, at(33))
    assert story.wish is Wish.WAKE


def test_speech_that_comes_after_the_window_has_closed_is_still_speech():
    story, _ = told_until(*TO_CLOSE)
    assert story.hear(Wish.SPEAK, ANSWER, DRAINING).name == "speech"
    assert story.act is Act.CLOSED


def test_the_wake_tells_when_the_pod_was_ready_but_not_of_an_earlier_wake():
    moments = (*TO_CLOSE, (33, ASLEEP))
    woken = replace(READY, wake_at=at(33.2), wake_seconds=1.5)
    story, _ = told_until(*moments)
    assert story.hear(Wish.WAKE, ANSWER, woken).facts["pod_seconds"] == 1.5
    story, _ = told_until(*moments)
    earlier = replace(woken, wake_at=at(-600))
    assert "pod_seconds" not in story.hear(Wish.WAKE, ANSWER, earlier).facts


def test_it_remembers_what_all_pods_cost_an_hour():
    cost = Cost("JPY", Decimal("0.1"), Decimal("3.69"))
    story, _ = told_until(*TO_READY, (-8, replace(READY, cost=cost)), (0.1, READY))
    assert story.full_rate == Decimal("3.69")


@each("moments, said", [
    (((-58, ASLEEP), (0.1, ASLEEP)), "no pod was started"),
    (((-58, ASLEEP), (-20, WARMING), (20.1, WARMING)), "not Ready before the window closed"),
    ((*TO_CLOSE, (21, SLEEPING), (120, SLEEPING)), "does not go back to sleep (phase Sleeping"),
    (((-58, replace(ASLEEP, refusal="no such zone")),), "does not accept the pool: no such zone"),
])  # fmt: skip
def test_it_gives_up_with_a_sentence(moments: tuple, said: str):
    with pytest.raises(DemoError, match=r".*") as caught:
        told_until(*moments)
    assert said in caught.value.what


@each("moments, now, said", [
    (TO_READY[:1], -50, "the window opens in 50 s"),
    (TO_READY[:2], -15, "0 of 2 pods Ready, window in 15 s"),
    (TO_READY, -5, "the window opens in 5 s"),
    (TO_OPEN, 8, "open for another 12 s"),
    ((*TO_CLOSE, (26, SLEEPING)), 27, "2 pods left"),
    ((*TO_CLOSE, (33, ASLEEP)), 34.5, "waits for a pod: 1.5 s"),
])  # fmt: skip
def test_there_is_always_something_to_say(moments: tuple, now: float, said: str):
    story, _ = told_until(*moments)
    assert said in story.doing(moments[-1][1], at(now))


def test_before_the_warm_up_it_counts_down_to_the_first_pod():
    story, _ = told_until((-58, ASLEEP))
    seen = replace(ASLEEP, prewarm_at=at(-13))
    assert story.doing(seen, at(-40)) == "pods start in 27 s, the window opens in 40 s"
