"""What is known about tokens: bounded, timed, and without the tokens.

Pure: the time is handed in, nothing is asked. A token is known only by a keyed hash; the key is
made at start and never leaves the process, so neither a dump of the cache nor a list of stolen
tokens tells anything about the other.

Refused tokens live in a store of their own: a flood of made-up tokens can push out other made-up
tokens, but never a user whom GitHub has vouched for.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kotatsu_auth.github import Refusal
from kotatsu_common.identity import Identity

E = TypeVar("E")
Key = bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """GitHub vouched for the token at `verified_at`; no need to ask again before `ask_at`.

    `is_stale`: it is past its time, and good only because GitHub can't be asked.
    """

    identity: Identity
    etag: str | None
    verified_at: float
    ask_at: float
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """GitHub or our own rule refused the token; no need to ask again before `ask_at`."""

    why: Refusal
    ask_at: float


class _Bounded(Generic[E]):
    """The entries used last, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Key, E] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> E | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: Key, entry: E) -> E:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry

    def drop(self, key: Key) -> None:
        self._entries.pop(key, None)


class TokenCache:
    """The memory of the verifier. Durations in seconds, times from one monotonic clock."""

    def __init__(self, *, ttl: float, refused_ttl: float, stale: float, size: int) -> None:
        self._ttl = ttl
        self._refused_ttl = refused_ttl
        self._stale = stale
        self._secret = secrets.token_bytes(32)
        self._verified: _Bounded[Verified] = _Bounded(size)
        self._refused: _Bounded[Refused] = _Bounded(size)
        self._issued: _Bounded[bool] = _Bounded(size)

    def __len__(self) -> int:
        return len(self._verified)

    def key(self, token: str) -> Key:
        """The name under which `token` is known here."""
        return hashlib.blake2b(token.encode(), key=self._secret, digest_size=16).digest()

    def fresh(self, key: Key, now: float) -> Verified | Refused | None:
        """What is known well enough not to ask."""
        verified = self.known(key, now)
        entry = verified or self._refused.get(key)
        return entry if entry is not None and now < entry.ask_at else None

    def known(self, key: Key, now: float) -> Verified | None:
        """Whom the token was when it was last verified, if that is recent enough to fall back on.

        The same entry serves to ask GitHub whether anything has changed.
        """
        entry = self._verified.get(key)
        return entry if entry is not None and self._is_good(entry, now) else None

    def issue(self, key: Key) -> None:
        """GitHub has just issued the token to us."""
        self._issued.put(key, True)

    def is_vouched(self, key: Key) -> bool:
        """Whether GitHub has issued the token to us or verified it, however long ago."""
        return self._verified.get(key) is not None or self._issued.get(key) is not None

    def verify(self, key: Key, identity: Identity, etag: str | None, now: float) -> Verified:
        """GitHub has vouched for the token."""
        self._refused.drop(key)
        self._issued.drop(key)
        return self._verified.put(key, Verified(identity, etag, now, now + self._ttl))

    def refuse(self, key: Key, why: Refusal, now: float) -> Refused:
        """The token is refused; what was known of it is forgotten."""
        self._verified.drop(key)
        self._issued.drop(key)
        return self._refused.put(key, Refused(why, now + self._refused_ttl))

    def postpone(self, key: Key, entry: Verified, until: float) -> Verified:
        """GitHub can't be asked: `entry` stands, and no new try before `until`."""
        return self._verified.put(key, replace(entry, ask_at=until, is_stale=True))

    def _is_good(self, entry: Verified, now: float) -> bool:
        return now - entry.verified_at <= max(self._ttl, self._stale)
