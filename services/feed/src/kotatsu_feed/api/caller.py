"""Who is calling, with the pet that belongs to them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from kotatsu_common.identity import Identity, token_of
from kotatsu_feed.domain.pet import Pet
from kotatsu_feed.storage.pets import PetStore


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified user's pet, and the token to ask GitHub with: for this request only."""

    pet: Pet
    token: str

    def __repr__(self) -> str:
        return f"Caller({self.pet.user_id})"


def caller_dependency(
    identify: Callable[..., Awaitable[Identity]],
    store: PetStore,
    now: Callable[[], datetime],
) -> Callable[..., Awaitable[Caller]]:
    """A dependency that verifies the caller, and creates the pet of one never seen before."""

    async def caller(request: Request, who: Annotated[Identity, Depends(identify)]) -> Caller:
        pet = await store.see(who.user_id, who.login, who.avatar_url, now())
        return Caller(pet, token_of(request.headers.get("authorization")) or "")

    return caller
