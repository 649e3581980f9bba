"""A person who scales once is obeyed; what keeps coming back is named."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kotatsu_operator.core.decide.decide import CONTEST_LASTS, remember_write
from kotatsu_operator.core.pool.decision import Write
from kotatsu_operator.core.pool.memory import MANY, Contest
from tests.operator.core.values import MINUTE, SECOND, t

NOW = t("10:00")


def writes(*gaps: timedelta, by: str = "helm") -> tuple[Contest | None, object]:
    """What is remembered after writes that are so far apart."""
    contest, at = remember_write(None, Write(by, NOW), NOW), NOW
    for gap in gaps:
        at += gap
        contest = remember_write(contest, None, at - SECOND)  # meanwhile the operator wrote
        contest = remember_write(contest, Write(by, at), at)
    return contest, at


def test_one_write_is_no_contest() -> None:
    contest, _ = writes()
    assert contest is not None
    assert not contest.holds


def test_the_same_write_seen_again_counts_once() -> None:
    contest = remember_write(None, Write("helm", NOW), NOW)
    assert remember_write(contest, Write("helm", NOW), NOW + MINUTE) == contest


def test_it_is_one_when_it_keeps_happening() -> None:
    contest, _ = writes(*[10 * MINUTE] * (MANY - 1))
    assert contest is not None
    assert (contest.holds, contest.count, contest.by) == (True, MANY, "helm")


def test_writes_that_are_far_apart_never_become_one() -> None:
    contest, _ = writes(*[CONTEST_LASTS] * (MANY + 2))
    assert contest is not None
    assert (contest.holds, contest.count) == (False, 1)


def test_different_writers_are_not_one_that_keeps_coming() -> None:
    contest = remember_write(None, Write("kubectl", NOW), NOW)
    for n, by in enumerate(("helm", "kubectl", "helm", "kubectl"), 1):
        contest = remember_write(contest, Write(by, NOW + n * MINUTE), NOW + n * MINUTE)
    assert contest is not None
    assert not contest.holds


def test_a_manifest_that_is_applied_with_replicas_is_one_at_once() -> None:
    contest = remember_write(None, Write("argocd", NOW, applied=True), NOW)
    assert contest is not None
    assert contest.holds


@pytest.mark.parametrize("apart", [SECOND, CONTEST_LASTS - SECOND])
def test_it_stays_one_while_the_operators_own_write_stands(apart: timedelta) -> None:
    """After our write nobody else owns the field, until the manifest is applied again."""
    contest = remember_write(None, Write("argocd", NOW, applied=True), NOW)
    assert remember_write(contest, None, NOW + apart) == contest


def test_it_is_over_when_nothing_has_been_written_for_long() -> None:
    contest, at = writes(*[MINUTE] * MANY)
    assert remember_write(contest, None, at + CONTEST_LASTS) is None


def test_a_last_write_that_stands_unopposed_is_no_contest_any_more() -> None:
    contest, at = writes(*[MINUTE] * MANY)
    assert contest is not None
    after = remember_write(contest, Write("helm", at), at + CONTEST_LASTS)
    assert after == replace(contest, count=1)


def test_a_manifest_that_holds_replicas_is_one_for_as_long_as_it_does() -> None:
    write = Write("argocd", NOW, applied=True)
    contest = remember_write(None, write, NOW)
    assert remember_write(contest, write, NOW + 9 * CONTEST_LASTS) == contest
