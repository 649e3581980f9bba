"""The timeline on paper."""

import io
import json
from datetime import UTC, datetime, timedelta

from kotatsu_demo.screen import Screen, Style, record, row
from kotatsu_demo.snapshot import Snapshot
from kotatsu_demo.story import Event

WARM = Snapshot(phase="Warm", ready=2, desired=2, pods=2)
BEGIN = datetime(2026, 11, 24, 17, 40, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def screen(style: Style) -> tuple[Screen, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    made = Screen(out, style, clock)
    made.begin()
    return made, out, clock


def test_a_row_has_time_replicas_phase_and_text():
    assert row(71.84, WARM, "the window is open") == "  71.8 s  2/2   Warm      the window is open"


def test_a_phase_that_is_not_set_is_a_dash():
    assert "0/0   -" in row(1, Snapshot(), "")


def test_columns_stay_in_line_with_the_head():
    made, out, _ = screen(Style.PLAIN)
    made.event(WARM, Event("open", "text"))
    *_, head, line = out.getvalue().splitlines()
    assert head.index("ready") == line.index("2/2")
    assert head.index("phase") == line.index("Warm")
    assert head.index("what") == line.index("text")


def test_a_pipe_gets_events_at_once_and_the_state_only_after_ten_silent_seconds():
    made, out, clock = screen(Style.PLAIN)
    before = out.getvalue()
    made.doing(WARM, "waiting")
    clock.forward(9)
    made.doing(WARM, "waiting")
    assert out.getvalue() == before
    clock.forward(1)
    made.doing(WARM, "waiting")
    assert out.getvalue().endswith("10.0 s  2/2   Warm      · waiting\n")
    made.event(WARM, Event("open", "news"))
    assert out.getvalue().endswith("news\n")
    assert "\r" not in out.getvalue()


def test_a_terminal_keeps_its_last_line_up_to_date_within_its_width():
    made, out, _ = screen(Style.LIVE)
    made.doing(WARM, "x" * 500)
    last = out.getvalue().rpartition("\r\x1b[K")[2]
    assert "\n" not in last
    assert len(last) < 500
    made.event(WARM, Event("open", "news"))
    assert out.getvalue().endswith("\r\x1b[K   0.0 s  2/2   Warm      news\n")


def test_json_has_one_object_an_event_and_nothing_else():
    made, out, clock = screen(Style.JSON)
    clock.forward(30)
    made.doing(WARM, "waiting")
    made.say("hello")
    made.event(WARM, Event("ready", "all Ready", {"early_seconds": 9.4}))
    (line,) = out.getvalue().splitlines()
    told = json.loads(line)
    assert told["event"] == "ready"
    assert (told["elapsed"], told["ready"], told["early_seconds"]) == (30.0, 2, 9.4)


def test_a_record_keeps_japanese_readable():
    assert "こたつ" in record(1, BEGIN, WARM, Event("speech", "こたつ"))
