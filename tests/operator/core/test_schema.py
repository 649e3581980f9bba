"""Dataclasses as objects of a status, read tolerantly."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rows import each

from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.schema import Form, Schema, several
from tests.operator.core.values import t


@dataclass(frozen=True)
class Visit:
    by: str
    left_at: datetime | None
    guests: int = 1
    lasting: timedelta = timedelta()
    phase: Phase = Phase.ASLEEP


VISIT = Schema(Visit, but=("phase",), lasting="howLong")


def test_an_attribute_is_stored_in_camel_case_or_under_its_own_name():
    written = VISIT.write(Visit("ada", t("10:00"), 2, timedelta(minutes=5)))
    assert written == {
        "by": "ada",
        "leftAt": "2026-11-25T10:00:00Z",
        "guests": 2,
        "howLong": "5m",
    }
    assert VISIT.read(written) == Visit("ada", t("10:00"), 2, timedelta(minutes=5))


@each("edit", [{"guests": "many"}, {"howLong": 5}, {"leftAt": "soon"}, {"more": 1}])
def test_one_field_that_cannot_be_read_leaves_the_others(edit):
    read = VISIT.read({"by": "ada", **edit})
    assert read == Visit("ada", None)


@each("edit", [None, [], {}, {"by": 7}, {"by": None}])
def test_without_a_field_that_it_needs_nothing_is_read(edit):
    assert VISIT.read(edit) is None


@dataclass(frozen=True)
class Stay:
    visit: Visit
    paid: int = 0
    rooms: tuple[int, ...] = ()


STAY = Schema(
    Stay,
    brief=("paid",),
    forms={"visit": VISIT, "rooms": Form(lambda given: tuple(given), sorted)},
    visit="",
)


def test_a_dataclass_within_another_may_share_its_object():
    stay = Stay(Visit("ada", None), 3, (7, 5))
    written = STAY.write(stay)
    assert written == {**VISIT.write(stay.visit), "paid": 3, "rooms": [5, 7]}
    assert STAY.read(written) == replace(stay, rooms=(5, 7))


def test_a_brief_attribute_is_left_out_while_it_has_its_default():
    assert STAY.write(Stay(Visit("ada", None)))["paid"] is None


def test_of_a_list_the_newest_are_read():
    assert several(VISIT, 2).read([{"by": name} for name in "abc"]) == (
        Visit("b", None),
        Visit("c", None),
    )
