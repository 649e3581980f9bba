"""What the stub has been told to do, and what it has been asked."""

from collections import Counter
from typing import Literal

from pydantic import BaseModel, Field

Mode = Literal["ok", "error", "rate_limited", "slow", "garbage", "down"]
Call = Literal["user", "graphql", "access_token", "app_token"]
CALLS: tuple[Call, ...] = ("user", "graphql", "access_token", "app_token")
_PATHS: dict[str, Call] = {
    "/user": "user",
    "/graphql": "graphql",
    "/login/oauth/access_token": "access_token",
}


def call_of(path: str) -> Call | None:
    """Which of GitHub's calls a path is."""
    return "app_token" if path.startswith("/applications/") else _PATHS.get(path)


class Script(BaseModel):
    """What to do from now on; what is left out stays as it is."""

    mode: Mode | None = Field(
        None,
        description="ok; error: 500; rate_limited: 403 with GitHub's headers; slow: the right"
        " answer after `delay`; garbage: 200 with HTML; down: the connection is cut",
    )
    calls: list[Call] | None = Field(
        None, description="which calls `mode` is for; all of them unless said otherwise"
    )
    delay: float | None = Field(None, ge=0, le=3600, description="seconds that slow takes")
    reset_in: int | None = Field(
        None, ge=0, le=86_400, description="seconds until the rate limit is said to be reset"
    )
    contributions: dict[str, int] | None = Field(
        None, description="by login: today's contributions to repositories with Dart"
    )


class State:
    """The stub's memory."""

    def __init__(self, contributions: int) -> None:
        self.default_contributions = contributions
        self.reset()

    def reset(self) -> None:
        """Forget everything that was told and counted."""
        self.mode: Mode = "ok"
        self.calls: frozenset[Call] = frozenset(CALLS)
        self.delay = 30.0
        self.reset_in = 60
        self.contributions: dict[str, int] = {}
        self.counted: Counter[str] = Counter()
        self.not_modified = 0
        self.remaining = 5000

    def follow(self, script: Script) -> None:
        """Take over what `script` sets. A mode without `calls` is for every call."""
        if script.mode is not None:
            self.mode = script.mode
            self.calls = frozenset(script.calls or CALLS)
        self.delay = self.delay if script.delay is None else script.delay
        self.reset_in = self.reset_in if script.reset_in is None else script.reset_in
        self.contributions.update(script.contributions or {})

    def contributions_of(self, login: str) -> int:
        """Today's contributions of a user."""
        return self.contributions.get(login, self.default_contributions)

    def mode_for(self, call: Call) -> Mode:
        """How a call is to be answered."""
        return self.mode if call in self.calls else "ok"

    def describe(self) -> dict[str, object]:
        """Everything, for whoever asks."""
        return {
            "mode": self.mode,
            "calls": sorted(self.calls),
            "delay": self.delay,
            "reset_in": self.reset_in,
            "contributions": self.contributions,
            "counted": dict(self.counted),
            "not_modified": self.not_modified,
            "remaining": self.remaining,
        }
