"""Claims gathered from the looks, turns handed out, and who has to be looked at earlier."""

import pytest

from kotatsu_operator.controller.reconciler import Pacer
from kotatsu_operator.core.pool.decision import Claim
from tests.operator.core.values import SECOND, t

A, B, C = ("demo", "a"), ("demo", "b"), ("demo", "c")
NOW = 0 * SECOND


@pytest.fixture
def hurried():
    return []


@pytest.fixture
def pacer(hurried):
    return Pacer(5, lambda key, at: hurried.append((key, at)))


def test_turns_are_known_once_the_claims_are_settled(pacer):
    for key in (A, B, C):
        pacer.claim(key, Claim(t("09:59"), 5))
    assert [pacer.ahead(key) for key in (A, B, C)] == [NOW, NOW, NOW]
    pacer.settle()
    assert [pacer.ahead(key) for key in (A, B, C)] == [2 * SECOND, SECOND, NOW]


def test_who_has_to_begin_earlier_than_thought_is_hurried_with_its_moment(pacer, hurried):
    pacer.claim(A, Claim(t("09:59"), 5))
    pacer.settle()
    assert hurried == []
    pacer.claim(B, Claim(t("09:59"), 5))
    pacer.settle()
    assert hurried == [(A, t("09:58:59"))]


def test_the_same_claims_again_hurry_nobody(pacer, hurried):
    for _ in range(2):
        for key in (A, B):
            pacer.claim(key, Claim(t("09:59"), 5))
        pacer.settle()
    assert len(hurried) == 1


def test_a_pool_without_a_claim_makes_room(pacer):
    for key in (A, B):
        pacer.claim(key, Claim(t("09:59"), 5))
    pacer.settle()
    pacer.claim(B, None)
    pacer.claim(C, None)
    pacer.settle()
    assert (pacer.ahead(A), pacer.ahead(B), pacer.ahead(C)) == (NOW, NOW, NOW)


def test_a_new_leader_begins_without_claims(pacer):
    for key in (A, B):
        pacer.claim(key, Claim(t("09:59"), 5))
    pacer.settle()
    pacer.reset()
    pacer.settle()
    assert pacer.ahead(A) == NOW
    for key in (A, B):
        pacer.claim(key, Claim(t("09:59"), 5))
    pacer.settle()
    assert pacer.ahead(A) == SECOND
