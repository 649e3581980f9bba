"""What auth asks GitHub: who a token is, whose app it belongs to, what a login code is worth."""

from dataclasses import dataclass
from typing import Annotated, Literal

import httpx
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from kotatsu_common.github import GitHub, garbage
from kotatsu_common.identity import AVATAR_URL, LOGIN, Identity
from kotatsu_common.identity_client import UNVERIFIED
from kotatsu_common.turns import AT_ONCE, Turns

API_HEADERS = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "kotatsu-auth",
    "X-GitHub-Api-Version": "2022-11-28",
}
Refusal = Literal["unknown", "foreign"]
"""Why a token is refused: nobody's, or another app's."""


class BadTokenError(Exception):
    """GitHub says that this token is nobody's."""


class BadCodeError(Exception):
    """GitHub gives no token for this code; `error` is its own word for why."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class BadClientError(Exception):
    """GitHub does not accept our client id or secret: for whoever runs this, not for the caller."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Who a token is; `identity` is None when that is unchanged since the ETag sent along."""

    identity: Identity | None
    etag: str | None


_LONGEST_ETAG = 200


def _etag(answer: httpx.Response, known: str | None = None) -> str | None:
    """The ETag of an answer, if it is one that can be stored and sent back."""
    found: str | None = answer.headers.get("etag", known)
    is_kept = found is not None and found.isascii() and len(found) <= _LONGEST_ETAG
    return found if is_kept else None


class _User(BaseModel):
    id: int = Field(gt=0, lt=2**63)
    login: Annotated[str, StringConstraints(pattern=f"^{LOGIN}$")]
    avatar_url: Annotated[str, StringConstraints(pattern=f"^{AVATAR_URL}$")]


class _Exchange(BaseModel):
    access_token: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,2000}$")] | None = None
    error: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,100}$")] | None = None


class GitHubAccounts:
    """Questions about accounts, each one exchange with GitHub.

    Anybody can make up tokens and codes. So each of the two has turns of its own, and a bounded
    queue, and neither is in the way of a token that GitHub has vouched for.
    """

    def __init__(
        self, github: GitHub, *, api_url: str, oauth_url: str, client_id: str, client_secret: str
    ) -> None:
        self._github = github
        self._api = api_url
        self._oauth = oauth_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._vouched_turns = Turns()
        self._token_turns = Turns(waiting=UNVERIFIED - AT_ONCE)
        self._code_turns = Turns(waiting=UNVERIFIED - AT_ONCE)

    async def who_is(self, token: str, etag: str | None, *, is_vouched: bool) -> Answer:
        """The token's user. BadTokenError if GitHub answers 401, and only then.

        `is_vouched`: GitHub has issued the token to us or said whose it is, so nobody made it up.
        """
        headers = {**API_HEADERS, "Authorization": f"Bearer {token}"}
        if etag is not None:
            headers["If-None-Match"] = etag
        turns = self._vouched_turns if is_vouched else self._token_turns
        url = f"{self._api}/user"
        answer = await self._github.ask("user", "GET", url, turns=turns, headers=headers)
        if answer.status_code == 401:
            raise BadTokenError
        if answer.status_code == 304 and etag is not None:
            return Answer(None, _etag(answer, etag))
        if answer.status_code != 200:
            raise garbage(f"GitHub answered {answer.status_code} when asked who a token is.")
        try:
            user = _User.model_validate_json(answer.content)
        except ValidationError:
            raise garbage("GitHub's description of the user makes no sense.") from None
        return Answer(Identity(user.id, user.login, user.avatar_url), _etag(answer))

    async def is_ours(self, token: str) -> bool:
        """Whether the token was issued to our OAuth app; BadClientError if we aren't one."""
        answer = await self._github.ask(
            "app_token",
            "POST",
            f"{self._api}/applications/{self._client_id}/token",
            turns=self._vouched_turns,
            headers=API_HEADERS,
            auth=(self._client_id, self._client_secret),
            json={"access_token": token},
        )
        if answer.status_code in (404, 422):  # 422: not even the form of a token of an OAuth app
            return False
        if answer.status_code == 401:
            raise BadClientError
        if answer.status_code != 200:
            raise garbage(f"GitHub answered {answer.status_code} when asked whose app a token is.")
        return True

    async def exchange(self, code: str, code_verifier: str | None) -> str:
        """The token for a login code. GitHub answers a bad code with 200 and an `error`.

        `code_verifier` (RFC 7636) belongs to a login that began with a `code_challenge`.
        """
        answer = await self._github.ask(
            "access_token",
            "POST",
            f"{self._oauth}/login/oauth/access_token",
            turns=self._code_turns,
            headers={"Accept": "application/json", "User-Agent": API_HEADERS["User-Agent"]},
            data={
                "client_id": self._client_id,
                "client_secret": self._client_secret,
                "code": code,
                **({"code_verifier": code_verifier} if code_verifier else {}),
            },
        )
        if answer.status_code in (401, 404):  # GitHub's answer to an unknown client id
            raise BadClientError
        try:
            exchange = _Exchange.model_validate_json(answer.content)
        except ValidationError:
            raise garbage("GitHub's answer to a login code makes no sense.") from None
        if exchange.access_token:
            return exchange.access_token
        if exchange.error in ("incorrect_client_credentials", "redirect_uri_mismatch"):
            raise BadClientError
        if exchange.error is None:
            raise garbage("GitHub answered a login code with neither a token nor an error.")
        raise BadCodeError(exchange.error)
