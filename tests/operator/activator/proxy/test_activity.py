"""When an open connection counts as busy, by its bytes alone."""

import pytest

from kotatsu_operator.activator.proxy.registry import (
    ANSWER_WITHIN,
    MOVING_FOR,
    REPLY_WITHIN,
    Traffic,
)

NOW = 1000.0


def test_a_connection_on_which_nothing_ever_passed_is_idle():
    assert not Traffic().is_busy(NOW)


@pytest.mark.parametrize("direction", ["up_at", "down_at"])
def test_bytes_in_either_direction_make_it_busy_for_a_moment(direction):
    assert Traffic(**{direction: NOW}).is_busy(NOW + MOVING_FOR - 0.01)


def test_an_answer_that_has_come_leaves_it_idle_after_a_moment():
    assert not Traffic(up_at=NOW - 1, down_at=NOW).is_busy(NOW + MOVING_FOR)


def test_a_client_that_waits_for_its_answer_keeps_it_busy():
    waiting = Traffic(up_at=NOW, down_at=NOW - 1, patience=ANSWER_WITHIN)
    assert waiting.is_busy(NOW + ANSWER_WITHIN - 1)


def test_a_last_word_of_the_client_keeps_no_pod_warm_for_ever():
    told = Traffic(up_at=NOW, down_at=NOW - 1)
    assert told.is_busy(NOW + REPLY_WITHIN - 1)
    assert not told.is_busy(NOW + REPLY_WITHIN)
    assert not Traffic(up_at=NOW, patience=ANSWER_WITHIN).is_busy(NOW + ANSWER_WITHIN)


def test_the_last_byte_is_the_later_of_both_directions():
    assert Traffic(up_at=3.0, down_at=5.0).last == 5.0
    assert Traffic(up_at=7.0, down_at=5.0).last == 7.0
