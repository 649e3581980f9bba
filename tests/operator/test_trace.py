"""How many modules a reader visits; the numbers may only fall."""

import pytest

from kotatsu_operator.controller import app, elector
from tests.operator import trace


@pytest.fixture(autouse=True)
def nothing_by_the_clock(monkeypatch):
    """What the operator does every second is no part of an edit, however long that takes."""
    for module, name in (
        (app, "PACE_SECONDS"),
        (app, "SWEEP_SECONDS"),
        (elector, "_FOLLOW_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 3600.0)


async def test_an_edit_of_a_plain_pool_passes_few_modules():
    passed = (await trace.an_edit()).passed
    assert len(passed) <= 41, passed  # one more: what route Auto has decided


async def test_a_cold_request_passes_few_modules():
    passed = (await trace.a_cold_request()).passed
    assert len(passed) <= 8, passed
