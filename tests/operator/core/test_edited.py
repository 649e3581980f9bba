"""Reading what somebody may have edited."""

from decimal import Decimal

from rows import each

from kotatsu_operator.core.formats import amount, choice, conditions_of, instant, is_true
from kotatsu_operator.core.pool.memory import Phase
from tests.operator.core.values import utc


@each("given", ["Nonsense", "", None, 3, "warm"])
def test_what_is_no_value_of_an_enumeration_is_the_default(given):
    assert choice(Phase, given, Phase.WARM) is Phase.WARM


def test_what_is_one_is_that():
    assert choice(Phase, "Asleep", Phase.WARM) is Phase.ASLEEP


@each("given", [
        None, 3, "", "soon", "2026-11-25T10:00:00", "0000-01-01T00:00:00Z",
        "2026-11-25T10:00:00+99:99", "2026-11-25T10:00:00ZTgarbage", "2026-11-25T10:00:00x5Z",
        "0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-09:00",
    ])  # fmt: skip
def test_what_no_clock_shows_is_no_instant(given):
    """Most of these are date-times to the API server."""
    assert instant(given) is None


@each("given", ["2026-11-25T10:00:00Z", "2026-11-25T19:00:00+09:00", "2026-11-25T10:00:00.000000Z"])
def test_an_instant_is_in_utc(given):
    assert instant(given) == utc("2026-11-25T10:00")


@each("given", [None, "", "abc", "NaN", "Infinity", "-1", []])
def test_what_is_no_amount_is_none(given):
    assert amount(given) is None


def test_an_amount_is_that():
    assert amount("3.50") == Decimal("3.5")


@each("given", [None, 7, "Ready", {"type": "Ready"}, ["Ready", 7, None]])
def test_what_is_no_list_of_conditions_has_none(given):
    assert conditions_of({"conditions": given}) == {}


def test_a_condition_whose_type_is_no_text_hides_no_other():
    ready = {"type": "Ready", "status": "True"}
    assert conditions_of({"conditions": [{"type": [True]}, ready]})["Ready"] == ready


@each("given", [None, {}, {"status": "Unknown"}, {"status": True}])
def test_what_is_not_said_to_be_true_is_not(given):
    assert not is_true(given)
