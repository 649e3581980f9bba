import pytest

from tests.jumping_time import let_time_jump


@pytest.fixture(autouse=True)
async def _time_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    let_time_jump(monkeypatch)
