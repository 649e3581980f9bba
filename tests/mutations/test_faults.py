"""Each fault that `run.py` seeds has its place in the code, and tests that may find it."""

import ast

import pytest
from mutations.run import ROOT, SOURCES, TroubleError, read_faults, table

FAULTS = read_faults()


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_every_fault_changes_one_place_of_the_code_and_leaves_valid_python() -> None:
    for fault in FAULTS:
        sound = (ROOT / SOURCES / fault.file).read_text()
        faulty = fault.seeded(sound)
        assert ast.dump(ast.parse(faulty)) != ast.dump(ast.parse(sound)), fault.name


def test_the_tests_to_try_first_are_there() -> None:
    assert [place for f in FAULTS for place in f.first if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("text", ["moved", FAULTS[0].old * 2])
def test_a_fault_whose_place_is_not_there_once_says_so(text: str) -> None:
    with pytest.raises(TroubleError, match=r"its old text occurs [02] times in .*faults\.toml"):
        FAULTS[0].seeded(text)


def test_the_table_counts_the_faults_of_each_tier() -> None:
    found = {"name": "a", "tier": "fast", "test": "tests/test_a.py::test_it"}
    lost = {"name": "b", "tier": "no test", "test": ""}
    shown = table([found, lost, found])
    assert "| a | fast | tests/test_a.py::test_it |" in shown
    assert shown.endswith("Found: 2 by fast, 1 by no test")
