"""Is this token good, and whose is it? GitHub decides, the cache spares it most questions.

- A token verified within the last minute (the TTL) is answered from the cache.
- After that GitHub is asked whether anything has changed: its 304 costs none of the rate limit.
- Whoever sends the same token meanwhile waits for the same question.
- Tokens that GitHub has vouched for and all others wait for GitHub in queues of their own. A queue
  that is full is no outage: the answer is Busy.
- When GitHub can't answer, a token verified within the last hour stays good. Only a 401 of GitHub's
  ends it. How often that happens is `kotatsu_auth_verifications_total{outcome="stale"}`.
"""

from collections.abc import Callable

from kotatsu_auth.cache import Key, Refused, TokenCache, Verified
from kotatsu_auth.github import BadTokenError, GitHubAccounts, Refusal
from kotatsu_auth.metrics import Outcome
from kotatsu_common.github import GitHubUnavailableError, garbage
from kotatsu_common.identity import Identity
from kotatsu_common.single_flight import SingleFlight
from kotatsu_common.turns import Busy


class TokenRefusedError(Exception):
    """The token is not accepted."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why = why


class Verifier:
    """Answers who a token is. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        accounts: GitHubAccounts,
        cache: TokenCache,
        count: Callable[[Outcome], None],
        *,
        clock: Callable[[], float],
        own_tokens_only: bool,
    ) -> None:
        self._accounts = accounts
        self._cache = cache
        self._count = count
        self._clock = clock
        self._own_tokens_only = own_tokens_only
        self._flights: SingleFlight[Key, Verified | Refused] = SingleFlight()

    async def verify(self, token: str) -> Identity:
        """The token's user. TokenRefusedError, or if it can't be asked: as GitHub.ask."""
        key = self._cache.key(token)
        entry = self._cache.fresh(key, self._clock())
        if entry is None:
            entry = await self._flights.do(key, lambda: self._ask(key, token))
        elif isinstance(entry, Refused):
            self._count("refused_cached")
        else:
            self._count("stale" if entry.is_stale else "cached")
        if isinstance(entry, Refused):
            raise TokenRefusedError(entry.why)
        return entry.identity

    def issued(self, token: str) -> None:
        """GitHub has just issued `token` to us, so nobody made it up."""
        self._cache.issue(self._cache.key(token))

    async def _ask(self, key: Key, token: str) -> Verified | Refused:
        known = self._cache.known(key, self._clock())
        try:
            return await self._ask_github(key, token, known)
        except Busy:
            self._count("busy")
            raise
        except GitHubUnavailableError as error:
            if known is None:
                self._count("unavailable")
                raise
            self._count("stale")
            return self._cache.postpone(key, known, self._clock() + error.retry_after)

    async def _ask_github(self, key: Key, token: str, known: Verified | None) -> Verified | Refused:
        asked_at = self._clock()
        try:
            answer = await self._accounts.who_is(
                token, known.etag if known else None, is_vouched=self._cache.is_vouched(key)
            )
        except BadTokenError:
            self._count("refused")
            return self._cache.refuse(key, "unknown", asked_at)
        if answer.identity is None and known is not None:
            self._count("revalidated")
            return self._cache.verify(key, known.identity, answer.etag, asked_at)
        if answer.identity is None:
            raise garbage("GitHub says that nothing has changed, but nothing was known.")
        # A token can't move to another app, so this is asked once, not at every revalidation.
        if known is None and self._own_tokens_only and not await self._accounts.is_ours(token):
            self._count("refused_foreign")
            return self._cache.refuse(key, "foreign", asked_at)
        self._count("verified")
        return self._cache.verify(key, answer.identity, answer.etag, asked_at)
