"""Who is calling? Every service asks auth itself and believes nobody else.

X-User-* headers of a request are never read: anybody who reaches the pod can write them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from fastapi import Security
from fastapi.security import APIKeyHeader

from kotatsu_common.problems import Problem
from kotatsu_common.turns import turns

RETRY_AFTER = "2"
CHALLENGE = {"WWW-Authenticate": "Bearer"}
# A plain header rather than HTTP Bearer: the app sends the bare token.
_header = APIKeyHeader(
    name="Authorization",
    scheme_name="GitHub token",
    description="A GitHub token: bare, or after `token` or `Bearer`",
    auto_error=False,
)


@dataclass(frozen=True)
class Identity:
    """A GitHub user whom auth has verified."""

    user_id: int
    login: str
    avatar_url: str

    def to_json(self) -> dict[str, Any]:
        """The body of auth's 200 answer to GET /authorize."""
        return {"userId": self.user_id, "login": self.login, "avatarUrl": self.avatar_url}

    @classmethod
    def from_json(cls, body: Any) -> "Identity":
        """Read such a body; KeyError, TypeError or ValueError if it is something else."""
        return cls(int(body["userId"]), str(body["login"]), str(body["avatarUrl"]))


def token_of(authorization: str | None) -> str | None:
    """The token in an Authorization header: bare, `token x` or `Bearer x`; None if there is none.

    Anything that can't be a token (spaces inside, control or non-ASCII characters) is none.
    """
    words = (authorization or "").split()
    if len(words) == 2 and words[0].lower() in ("token", "bearer"):
        words = words[1:]
    if len(words) != 1 or words[0].lower() in ("token", "bearer"):
        return None
    token = words[0]
    return token if token.isascii() and token.isprintable() else None


class IdentityClient:
    """Asks auth, a bounded number of questions at a time.

    `timeout` (seconds, with the wait for a turn) is long enough for an auth that has to wake up
    first.
    """

    def __init__(self, http: httpx.AsyncClient, auth_url: str, timeout: float = 20.0) -> None:
        self._http = http
        self._url = auth_url.rstrip("/") + "/authorize"
        self._seconds = timeout
        self._timeout = httpx.Timeout(timeout, connect=5.0)
        self._turns = turns()

    async def verify(self, authorization: str | None) -> Identity:
        """The caller's identity, or a Problem: 401, 403, or 503 when auth can't say."""
        token = token_of(authorization)
        if token is None:
            raise Problem(
                401, "Not signed in", "Send a GitHub token in Authorization.", headers=CHALLENGE
            )
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                answer = await self._http.get(self._url, headers=headers, timeout=self._timeout)
        except (TimeoutError, httpx.TransportError) as error:
            raise _unavailable("Auth did not answer.") from error
        if answer.status_code == 200:
            try:
                return Identity.from_json(answer.json())
            except (KeyError, TypeError, ValueError) as error:
                raise _unavailable("Auth gave an answer that makes no sense.") from error
        if answer.status_code == 401:
            raise Problem(401, "Not signed in", "The token is not accepted.", headers=CHALLENGE)
        if answer.status_code == 403:
            raise Problem(403, "Not allowed", "The token is of another application.")
        raise _unavailable(
            "Auth can't check the token just now.", answer.headers.get("Retry-After", RETRY_AFTER)
        )


def _unavailable(detail: str, retry_after: str = RETRY_AFTER) -> Problem:
    return Problem(503, "Can't check who you are", detail, headers={"Retry-After": retry_after})


def identity_dependency(
    verify: Callable[[str | None], Awaitable[Identity]],
) -> Callable[..., Awaitable[Identity]]:
    """A FastAPI dependency: `who: Annotated[Identity, Depends(identity_dependency(c.verify))]`."""

    async def identify(authorization: Annotated[str | None, Security(_header)]) -> Identity:
        return await verify(authorization)

    return identify
