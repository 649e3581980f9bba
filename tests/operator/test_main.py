"""How the two programs begin."""

import gc
from unittest.mock import Mock

import pytest

from kotatsu_operator import __main__ as operator
from kotatsu_operator.activator import __main__ as activator


@pytest.mark.parametrize("program", [operator, activator])
def test_no_garbage_is_looked_for_in_what_a_program_has_imported(program, monkeypatch):
    """A full collection of it takes up to 70 ms, in which nothing is decided or passed on."""
    frozen = []

    async def run(_):
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(program, "_run", run)
    monkeypatch.setattr(program, "start", lambda *_: Mock())
    before = gc.get_freeze_count()
    try:
        program.main()
    finally:
        gc.freeze()  # as tests/conftest.py does
    assert frozen[0] > before
