"""docs/reference/conditions.md has all conditions, events, phases and reasons, and no other."""

import re

from docs.pages import ROOT, rows, section
from docs.reasons import conditions, events, of_jobs, statuses

from kotatsu_operator.core.pool.memory import Phase, Reason
from kotatsu_operator.core.report.conditions import NO_FAULT, WITH_EVENTS

NAME = "docs/reference/conditions.md"
PAGE = (ROOT / NAME).read_text()
SOURCE = ROOT / "operator/src/kotatsu_operator"
REFUSING = SOURCE / "core/poolset/wanted.py", SOURCE / "features/sets/feature.py"


def _tables(heading: str) -> list[list[list[str]]]:
    """The tables of a section, each a list of rows without its head."""
    tables = re.findall(r"(?:^\|.*\n)+", section(NAME, heading), re.MULTILINE)
    return [rows(table)[2:] for table in tables]


def _names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def _conditions() -> dict[tuple[str, str], set[str]]:
    """The statuses of each condition and reason, as the page has them."""
    found: dict[tuple[str, str], set[str]] = {}
    kind = ""
    (of_pools,), (of_sets, _) = _tables("Conditions"), _tables("Sets")
    for row in (*of_pools, *of_sets):
        kind = row[0] or kind
        for reason in _names(row[2]):
            found.setdefault((kind, reason), set()).add(row[1])
    return found


def test_the_page_has_each_condition_and_reason_of_the_code_and_no_other() -> None:
    assert len(conditions()) > 20
    assert sorted(_conditions()) == sorted(conditions())


def test_each_condition_has_the_status_of_the_code() -> None:
    page = _conditions()
    assert len(statuses()) > 15
    for condition, expected in statuses().items():
        assert page[condition] == expected, condition


def test_the_page_has_each_reason_for_which_a_workload_has_no_pool_of_a_set() -> None:
    _, refusals = _tables("Sets")
    there = {name for row in refusals for name in _names(row[0])}
    code = "".join(path.read_text() for path in REFUSING)
    assert there == set(re.findall(r'"([A-Z]\w+)", (?:f?"|_[A-Z]|str\(|error)', code)) | {
        "Conflict"
    }


def test_the_page_names_each_reason_that_a_job_writes() -> None:
    assert of_jobs()
    assert [reason for reason in of_jobs() if f"`{reason}`" not in PAGE] == []


def test_the_page_has_each_event_with_its_type_and_no_other() -> None:
    (table,) = _tables("Events")
    page = [(name, row[1]) for row in table for name in _names(row[0])]

    assert len(page) > 15
    assert sorted(page) == sorted(
        (name, "Warning" if warns else "Normal") for name, warns in events().items()
    )


def test_the_page_names_the_conditions_that_have_events_and_their_quiet_reasons() -> None:
    (said,) = re.findall(r"^A condition that becomes False.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert set(_names(said)) == {*WITH_EVENTS, *NO_FAULT}


def test_the_page_has_each_phase_and_each_reason_of_a_phase() -> None:
    phases, reasons = _tables("Phases")

    assert {phase.value for phase in Phase} == {n for row in phases for n in _names(row[0])}
    assert {reason.value for reason in Reason} == {n for row in reasons for n in _names(row[0])}
