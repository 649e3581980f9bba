"""The timeline for programs."""

import io
import json
from datetime import UTC, datetime

from kotatsu_demo.screen import Screen, Style
from kotatsu_demo.snapshot import Snapshot
from kotatsu_demo.story import Event

WARM = Snapshot(phase="Warm", ready=2, desired=2, pods=2)


def test_json_has_one_object_an_event_and_nothing_else():
    out, seconds = io.StringIO(), iter((0, 0, 30, 30))
    screen = Screen(
        out, Style.JSON, lambda: datetime(2026, 11, 24, 17, 40, next(seconds), tzinfo=UTC)
    )
    screen.begin()
    screen.doing(WARM, "waiting")
    screen.say("hello")
    screen.event(WARM, Event("ready", "all Ready", {"early_seconds": 9.4}))
    (line,) = out.getvalue().splitlines()
    told = json.loads(line)
    assert told["event"] == "ready"
    assert (told["elapsed"], told["ready"], told["early_seconds"]) == (30.0, 2, 9.4)
