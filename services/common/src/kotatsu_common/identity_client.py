"""Asks auth who is calling. Apart from `identity`, since httpx takes long to import."""

import httpx

from kotatsu_common.fetch import Bounds, UnreadableAnswerError, fetch
from kotatsu_common.identity import CHALLENGE, Identity, token_of
from kotatsu_common.problems import Problem
from kotatsu_common.turns import WAITING, Turns

RETRY_AFTER = "2"
UNVERIFIED = 256
"""Tokens unknown to a pod of auth that it has room for: those it asks GitHub about, and those that
wait. Enough for a full venue whose phones all come while auth wakes."""
AT_ONCE = 640
"""Questions to auth at a time. More than two pods of auth have room for unknown tokens: what auth
knows, and what it has no room for, is answered at once, so made-up tokens never take all turns."""
MAX_ANSWER = 65_536
"""Bytes; auth's answers are some hundred."""


class IdentityClient:
    """Asks auth, a bounded number of questions at a time.

    `timeout` (seconds) is long enough for an auth that has to wake up first.
    """

    def __init__(self, http: httpx.AsyncClient, auth_url: str, timeout: float = 20.0) -> None:
        self._http = http
        self._url = auth_url.rstrip("/") + "/authorize"
        self._seconds = timeout
        self._turns = Turns(at_once=AT_ONCE, waiting=WAITING - AT_ONCE)

    async def verify(self, authorization: str | None) -> Identity:
        """The caller's identity, or a Problem: 401, 403, or 503 if auth can't say or is busy."""
        token = token_of(authorization)
        if token is None:
            raise Problem(
                401, "Not signed in", "Send a GitHub token in Authorization.", headers=CHALLENGE
            )
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with self._turns.turn():
                answer = await fetch(
                    *(self._http, "GET", self._url),
                    Bounds(self._seconds, MAX_ANSWER),
                    headers=headers,
                    timeout=httpx.Timeout(self._seconds, connect=5.0),
                )
        except (httpx.RequestError, UnreadableAnswerError) as error:
            raise _unavailable("Auth did not answer.") from error
        if answer.status_code == 200:
            try:
                return Identity.from_json(answer.json())
            except (KeyError, TypeError, ValueError, RecursionError) as error:
                raise _unavailable("Auth gave an invalid answer.") from error
        if answer.status_code == 401:
            raise Problem(401, "Not signed in", "The token is not accepted.", headers=CHALLENGE)
        if answer.status_code == 403:
            raise Problem(403, "Not allowed", "The token was issued to another application.")
        wait = answer.headers.get("Retry-After", "")
        is_number = wait.isascii() and wait.isdecimal() and len(wait) < 6
        raise _unavailable(
            "Auth can't check the token just now.", wait if is_number else RETRY_AFTER
        )


def _unavailable(detail: str, retry_after: str = RETRY_AFTER) -> Problem:
    return Problem(503, "Can't check who you are", detail, headers={"Retry-After": retry_after})
