"""Waits of the end-to-end tests grow with the machine's slowness and load, up to a bound."""

from pathlib import Path

import pytest
from e2e import patience


@pytest.mark.parametrize(
    ("slowness", "stalled", "times"),
    [(1.0, 0.0, 1.0), (1.5, 0.0, 1.5), (1.0, 0.5, 2.0), (1.5, 0.5, 3.0), (3.0, 0.9, 4.0)],
)
def test_a_wait_is_longer_on_a_slow_or_busy_machine_and_never_endless(
    monkeypatch: pytest.MonkeyPatch, slowness: float, stalled: float, times: float
) -> None:
    monkeypatch.setattr(patience, "slowness", lambda: slowness)
    monkeypatch.setattr(patience, "stalled", lambda: stalled)
    assert patience.patience(10) == pytest.approx(10 * times)


def test_no_machine_is_faster_than_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, times in ((patience.REFERENCE / 2, 1.0), (patience.REFERENCE * 2, 2.0)):
        monkeypatch.setattr(patience.cpu, "loop", lambda seconds=seconds: seconds)
        assert patience.slowness.__wrapped__() == pytest.approx(times)


def test_the_load_is_the_kernels_word_for_it_and_nothing_where_it_has_none(tmp_path: Path) -> None:
    pressure = tmp_path / "cpu"
    assert patience.stalled(pressure) == 0.0
    pressure.write_text("some avg10=69.14 avg60=83.43 avg300=63.43 total=361626134\n")
    assert patience.stalled(pressure) == pytest.approx(0.6914)
