"""Who exists here: the token `demo` is the user demo, `demo-<name>` is the user <name>."""

import re
import zlib
from dataclasses import dataclass

FIRST_TOKEN = "demo"  # noqa: S105
_NAMED = re.compile(r"demo-([a-z0-9][a-z0-9-]{0,38})")


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the stub."""

    login: str

    @property
    def id(self) -> int:
        """The same number for the same login, in every process."""
        return zlib.crc32(self.login.encode()) + 1


def person_of(token: str) -> Person | None:
    """The user whom a token belongs to."""
    if token == FIRST_TOKEN:
        return Person(FIRST_TOKEN)
    named = _NAMED.fullmatch(token.lower())
    return Person(named[1]) if named else None


def token_in(authorization: str) -> str:
    """The token of `token x` or `Bearer x`; GitHub takes no bare ones."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() in ("token", "bearer") else ""
