"""Every error of auth, word by word."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from auth.conftest import IMPATIENT
from snapshots import Snapshots

from kotatsu_github_stub.state import Mode, State

SNAPSHOTS = Snapshots(Path(__file__).with_name("errors.json"))
OWN: dict[str, Any] = {"github_own_tokens_only": True}
WRONG: dict[str, Any] = {"github_client_secret": "wrong"}

Case = tuple[str, str, str | None, Mode, dict[str, Any]]
CASES: list[Case] = [
    ("token without a code", "/token", None, "ok", {}),
    ("token with an impossible code", "/token?code=a%20b", None, "ok", {}),
    ("token with a bad code", "/token?code=expired", None, "ok", {}),
    ("token with wrong credentials of ours", "/token?code=demo", None, "ok", WRONG),
    ("token while GitHub fails", "/token?code=demo", None, "error", {}),
    ("no token", "/authorize", None, "ok", {}),
    ("a bad token", "/authorize", "nobody", "ok", {}),
    ("a token that is too long", "/authorize", "x" * 3000, "ok", {}),
    ("a token of another app", "/authorize", "demo-foreigner", "ok", OWN),
    ("GitHub fails", "/authorize", "demo", "error", {}),
    ("GitHub is slow", "/authorize", "demo", "slow", IMPATIENT),
    ("GitHub is down", "/authorize", "demo", "down", {}),
    ("GitHub talks nonsense", "/authorize", "demo", "garbage", {}),
    ("GitHub's rate limit", "/authorize", "demo", "rate_limited", {}),
    ("nowhere", "/nowhere", None, "ok", {}),
]


@pytest.mark.parametrize(
    ("name", "path", "token", "mode", "overrides"), CASES, ids=[case[0] for case in CASES]
)
async def test_errors_are_sentences_for_people(
    auth: httpx.AsyncClient, stub: State, name: str, path: str, token: str | None, mode: Mode
) -> None:
    stub.mode, stub.reset_in = mode, 0  # a reset that is over makes Retry-After the same each time
    headers = {} if token is None else {"Authorization": token}
    SNAPSHOTS.check(name, await auth.get(path, headers=headers))
