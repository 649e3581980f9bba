"""How many modules a reader visits; the numbers may only fall."""

from tests.operator import trace


async def test_an_edit_of_a_plain_pool_passes_few_modules():
    passed = (await trace.an_edit()).passed
    assert len(passed) <= 27, passed


async def test_a_cold_request_passes_few_modules():
    passed = (await trace.a_cold_request()).passed
    assert len(passed) <= 9, passed
