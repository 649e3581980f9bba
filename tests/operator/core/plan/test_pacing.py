"""Turns of warm-ups that fall together: earlier and never later, one after the other, the same
whoever asks first.
"""

from datetime import datetime, timedelta
from itertools import product
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.plan.lead import LONGEST_AHEAD, WARM_UPS_PER_SECOND, turns
from kotatsu_operator.core.pool.news import Claim
from tests.operator.core.values import SECOND, examples, t

TEN = t("10:00")


def key(n: int) -> tuple[str, str]:
    return ("demo", f"pool-{n:04d}")


def claims(*raw: tuple[int, int]) -> dict[tuple[str, str], Claim]:
    """Claims by (seconds before ten o'clock, replicas)."""
    return {key(n): Claim(TEN - by * SECOND, replicas) for n, (by, replicas) in enumerate(raw)}


def seconds(ahead: dict[tuple[str, str], timedelta]) -> list[int]:
    return [int(ahead[key(n)].total_seconds()) for n in range(len(ahead))]


@each("raw, ahead", [
    ([], []), ([(60, 1)], [0]), ([(60, 500)], [0]),
    ([(60, 5), (60, 5), (60, 5)], [2, 1, 0]),
    ([(60, 5), (61, 5)], [0, 0]), ([(60, 10), (61, 10)], [0, 1]),
    ([(60, 5), (60, 50)], [1, 0]), ([(60, 50), (60, 5)], [0, 1]),
    ([(60, 5), (3600, 5)], [0, 0]),
    ([(60, 5), (60, 5), (61, 5), (200, 5)], [1, 0, 1, 0]),
])  # fmt: skip
def test_turns_at_five_pods_a_second(raw, ahead):
    assert seconds(turns(claims(*raw), 5)) == ahead


def test_a_thousand_pools_at_the_same_minute_are_spread_over_what_they_need():
    ahead = seconds(turns(claims(*[(60, 2)] * 1000), 5))
    assert (min(ahead), max(ahead)) == (0, 400)


def test_however_fast_pods_start_the_api_server_gets_its_time():
    ahead = seconds(turns(claims(*[(60, 1)] * 101), 1000))
    assert max(ahead) == 100 / WARM_UPS_PER_SECOND


def test_nobody_starts_more_than_an_hour_early_for_others():
    ahead = turns(claims(*[(60, 100)] * 100), 1)
    assert max(ahead.values()) == LONGEST_AHEAD


RAW = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 30)), max_size=40)
RATES = st.sampled_from([0.5, 2.0, 5.0, 50.0])


def starts(asked: dict[tuple[str, str], Claim], rate: float) -> dict[tuple[str, str], datetime]:
    ahead = turns(asked, rate)
    return {k: claim.by - ahead[k] for k, claim in asked.items()}


@examples(150)
@given(RAW, RATES)
def test_no_more_pods_start_than_the_cluster_can_and_nobody_is_late(raw, rate):
    asked = claims(*raw)
    found = starts(asked, rate)
    assert all(found[k] <= claim.by for k, claim in asked.items())
    if any(claim.by - found[k] >= LONGEST_AHEAD for k, claim in asked.items()):
        return  # more is asked for than can be had
    for first, last in product(found.values(), repeat=2):
        pods = sum(asked[k].replicas for k, start in found.items() if first <= start < last)
        # Turns are whole seconds, so one may be missing.
        assert pods / rate <= (last - first).total_seconds() + 1 or last <= first


@examples(100)
@given(RAW, RATES, st.integers(0, 1000))
def test_the_order_in_which_claims_came_does_not_matter(raw, rate, seed):
    asked = claims(*raw)
    shuffled = list(asked.items())
    Random(seed).shuffle(shuffled)
    assert turns(dict(shuffled), rate) == turns(asked, rate)


@examples(100)
@given(RAW, RATES)
def test_those_that_have_begun_move_nobody(raw, rate):
    """The claims are taken out in the order of their turns, as pools begin."""
    asked = claims(*raw)
    found = starts(asked, rate)
    # Within one second the turns are rounded: the order is that of the exact ones.
    order = sorted(asked, key=lambda k: (found[k], asked[k].by, asked[k].replicas))
    gone = {k for k in order[: len(order) // 2] if found[k] < found[order[len(order) // 2]]}
    rest = {k: claim for k, claim in asked.items() if k not in gone}
    assert starts(rest, rate) == {k: found[k] for k in rest}


@examples(100)
@given(RAW, RATES, st.tuples(st.integers(0, 300), st.integers(1, 30)))
def test_one_more_pool_makes_nobody_later(raw, rate, more):
    before = starts(claims(*raw), rate)
    after = starts(claims(*raw, more), rate)
    assert all(after[k] <= start for k, start in before.items())
