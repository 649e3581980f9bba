"""Who is calling? Every service asks auth itself and believes nobody else.

X-User-* headers of a request are never read: anybody who reaches the pod can write them.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Security
from fastapi.security import APIKeyHeader

LOGIN = r"[A-Za-z0-9_\-\[\]]{1,100}"
"""What GitHub's logins look like, enterprise users and bots included. It becomes a header."""
AVATAR_URL = r"https?://[!-~]{1,1900}"
_LOGIN, _AVATAR_URL = re.compile(LOGIN), re.compile(AVATAR_URL)
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
        user_id, login, avatar_url = body["userId"], body["login"], body["avatarUrl"]
        if type(user_id) is not int or not 0 < user_id < 2**63:
            raise ValueError("userId is not a number of a user")
        if not _LOGIN.fullmatch(login) or not _AVATAR_URL.fullmatch(avatar_url):
            raise ValueError("login or avatarUrl is missing")
        return cls(user_id, login, avatar_url)


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


def identity_dependency(
    verify: Callable[[str | None], Awaitable[Identity]],
) -> Callable[..., Awaitable[Identity]]:
    """A FastAPI dependency: `who: Annotated[Identity, Depends(identity_dependency(c.verify))]`."""

    async def identify(authorization: Annotated[str | None, Security(_header)]) -> Identity:
        return await verify(authorization)

    return identify
