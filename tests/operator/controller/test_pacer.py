"""Claims gathered from the looks, turns handed out, and who has to be looked at earlier."""

import pytest

from kotatsu_operator.controller.pacer import Pacer
from kotatsu_operator.core.pool.news import Claim
from tests.operator.core.values import SECOND, t

A, B, C = ("demo", "a"), ("demo", "b"), ("demo", "c")
CLAIM = Claim(t("09:59"), 5)


class Paced(Pacer):
    def __init__(self):
        self.hurried = []
        super().__init__(5, lambda *early: self.hurried.append(early))

    def settled(self, *keys, claim=CLAIM):
        """Claim for some pools, and settle."""
        for key in keys:
            self.claim(key, claim)
        self.settle()

    def turns(self, *keys):
        """How many seconds earlier than its own lead each begins."""
        return [self.ahead(key) / SECOND for key in keys]


@pytest.fixture
def pacer():
    return Paced()


def test_turns_are_known_once_the_claims_are_settled(pacer):
    for key in (A, B, C):
        pacer.claim(key, CLAIM)
    assert pacer.turns(A, B, C) == [0, 0, 0]
    pacer.settle()
    assert pacer.turns(A, B, C) == [2, 1, 0]


def test_who_has_to_begin_earlier_than_thought_is_hurried_once_with_its_moment(pacer):
    pacer.settled(A)
    assert pacer.hurried == []
    for _ in range(2):
        pacer.settled(A, B)
        assert pacer.hurried == [(A, t("09:58:59"))]


def test_a_pool_without_a_claim_makes_room(pacer):
    pacer.settled(A, B)
    pacer.settled(B, C, claim=None)
    assert pacer.turns(A, B, C) == [0, 0, 0]


def test_a_new_leader_begins_without_claims(pacer):
    pacer.settled(A, B)
    pacer.reset()
    pacer.settle()
    assert pacer.turns(A) == [0]
    pacer.settled(A, B)
    assert pacer.turns(A) == [1]
