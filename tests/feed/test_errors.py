"""Every error of feed, word by word."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from snapshots import Snapshots

from kotatsu_github_stub.state import Mode, State

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
SNAPSHOTS = Snapshots(Path(__file__).with_name("errors.json"))

LONG_AGO = -1_000_000_000
"""Seconds: the stub has the real time, feed that of the test, which may be before or after it."""
Case = tuple[str, str, str, dict[str, Any], Mode]
CASES: list[Case] = [
    ("not signed in", "GET", "/home", {"headers": {"Authorization": ""}}, "ok"),
    ("a bad token", "GET", "/home", {"headers": {"Authorization": "nobody"}}, "ok"),
    ("GitHub fails", "POST", "/get_feed", {}, "error"),
    ("GitHub is slow", "POST", "/get_feed", {}, "slow"),
    ("GitHub is down", "POST", "/feed", {}, "down"),
    ("GitHub talks nonsense", "POST", "/feed", {}, "garbage"),
    ("GitHub's rate limit", "POST", "/feed", {}, "rate_limited"),
    ("a bad key", "POST", "/feed", {"headers": {"Idempotency-Key": "a b"}}, "ok"),
    ("no such clothes", "PUT", "/change_clothes", {"json": {"item": "梅雨"}}, "ok"),
    ("no such background", "PUT", "/change_background", {"json": {"item": "normal"}}, "ok"),
    ("an empty name", "PUT", "/update_profile", {"json": {"characterName": " "}}, "ok"),
    ("a long name", "PUT", "/update_profile", {"json": {"characterName": "x" * 51}}, "ok"),
    ("a control character", "PUT", "/update_profile", {"json": {"characterName": "\0"}}, "ok"),
    ("a number for a name", "PUT", "/update_profile", {"json": {"characterName": 7}}, "ok"),
    ("no name", "PUT", "/update_profile", {"json": {}}, "ok"),
    ("no JSON", "PUT", "/update_profile", {"content": b"{"}, "ok"),
    ("no body", "PUT", "/change_clothes", {}, "ok"),
    ("the wrong method", "GET", "/feed", {}, "ok"),
    ("nowhere", "GET", "/nowhere", {}, "ok"),
]


@pytest.mark.parametrize(
    ("case", "mode"), [(case, case[-1]) for case in CASES], ids=[case[0] for case in CASES]
)
async def test_errors_are_sentences_for_people(
    feed: httpx.AsyncClient, stub: State, case: Case, mode: Mode
) -> None:
    name, method, path, request_, _ = case
    stub.mode, stub.reset_in = mode, LONG_AGO
    SNAPSHOTS.check(name, await feed.request(method, path, **request_))


async def test_out_of_food(feed: httpx.AsyncClient, stub: State) -> None:
    stub.contributions["demo"] = 0
    SNAPSHOTS.check("out of food", await feed.post("/feed"))
