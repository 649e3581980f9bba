"""The story: what each moment means, told with a clock that the test moves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rows import each

from kotatsu_demo.answers import Answer
from kotatsu_demo.errors import DemoError
from kotatsu_demo.snapshot import Snapshot
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
