"""The paths that the client knows."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from kotatsu_common.bodies import documented_body, json_body
from kotatsu_common.problems import Problem, problem_responses
from kotatsu_feed.api.caller import Caller
from kotatsu_feed.api.keys import checked_key
from kotatsu_feed.api.shapes import AfterFeeding, FoodLeft, Home, Item, Profile, Ranked
from kotatsu_feed.domain.day import day_of
from kotatsu_feed.domain.levels import level_for
from kotatsu_feed.domain.names import BadNameError, clean_name
from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES, UnknownItemError, Wardrobe
from kotatsu_feed.food import Pantry
from kotatsu_feed.metrics import FeedMetrics
from kotatsu_feed.storage.pets import PetStore

RANKED = 100
REPLAYED = "Idempotency-Replayed"


def create_routes(
    store: PetStore,
    pantry: Pantry,
    metrics: FeedMetrics,
    *,
    caller: Callable[..., Awaitable[Caller]],
    now: Callable[[], datetime],
) -> APIRouter:
    """All routes of the wire format; each needs a token."""
    signed_in = Annotated[Caller, Depends(caller)]
    router = APIRouter(tags=["pet"], responses=problem_responses(401, 403, 503))
    # Behind the caller in each signature: a body is read for users alone.
    named = Annotated[Profile, Depends(json_body(Profile))]
    chosen = Annotated[Item, Depends(json_body(Item))]

    @router.get("/home")
    async def home(me: signed_in) -> Home:
        """Your pet; a new one hatches at the first visit. GitHub is not asked."""
        pet = me.pet
        return Home(
            **Ranked.of(pet).model_dump(),
            character_experience=pet.experience,
            feed_count=pet.food_left(day_of(now())),
        )

    @router.post("/get_feed", responses=problem_responses(502))
    async def get_feed(me: signed_in) -> FoodLeft:
        """Food left: today's contributions to repositories with Dart, less what was eaten."""
        food = await pantry.today(me.pet, me.token)
        return FoodLeft(feed_count=me.pet.food_left(food.day, food.contributions))

    @router.post("/feed", responses=problem_responses(400, 422, 502))
    async def feed(
        response: Response,
        me: signed_in,
        idempotency_key: Annotated[
            str | None,
            Header(
                description="Made up by the client for each wish to feed. Repeating it within a day"
                " gives the first answer again and feeds only once, so a request may be retried."
            ),
        ] = None,
    ) -> AfterFeeding:
        """Feed the pet once. 400 when today's food is used up."""
        key = checked_key(idempotency_key)
        fed = await store.remembered(me.pet.user_id, key) if key else None
        if fed is None:
            food = await pantry.today(me.pet, me.token)
            fed = await store.feed(me.pet.user_id, food.day, food.contributions, now=now(), key=key)
        if fed is None:
            metrics.feeding("no_food")
            raise Problem(
                400,
                "No food left",
                "Every contribution to a repository with Dart today is one meal, and all of"
                " today's are eaten. Contribute, or come back after midnight in Tokyo.",
                feedCount=0,
            )
        metrics.feeding("replayed" if fed.replayed else "fed")
        if fed.replayed:
            response.headers[REPLAYED] = "true"
        return AfterFeeding(
            current_experience=fed.experience,
            character_experience=fed.experience,
            character_level=level_for(fed.experience),
            feed_count=fed.food_left,
        )

    @router.get("/ranking", dependencies=[Depends(caller)])
    async def ranking() -> list[Ranked]:
        """The hundred most experienced pets, best first."""
        return [Ranked.of(pet) for pet in await store.ranking(RANKED)]

    @router.put(
        "/update_profile",
        responses=problem_responses(400, 413, 422),
        openapi_extra=documented_body(Profile),
    )
    async def update_profile(me: signed_in, profile: named) -> Profile:
        """Name the pet."""
        try:
            name = clean_name(profile.character_name)
        except BadNameError as error:
            raise Problem(400, "That can't be a name", str(error)) from None
        await store.change(me.pet.user_id, name=name)
        return Profile(character_name=name)

    @router.put(
        "/change_clothes",
        responses=problem_responses(400, 413, 422),
        openapi_extra=documented_body(Item),
    )
    async def change_clothes(me: signed_in, item: chosen) -> Item:
        """Dress the pet."""
        key = _choose(CLOTHES, item)
        await store.change(me.pet.user_id, clothes=key)
        return Item(item=key)

    @router.put(
        "/change_background",
        responses=problem_responses(400, 413, 422),
        openapi_extra=documented_body(Item),
    )
    async def change_background(me: signed_in, item: chosen) -> Item:
        """Move the pet to another season."""
        key = _choose(BACKGROUNDS, item)
        await store.change(me.pet.user_id, background=key)
        return Item(item=key)

    return router


def _choose(wardrobe: Wardrobe, item: Item) -> str:
    try:
        return wardrobe.key(item.item)
    except UnknownItemError as error:
        raise Problem(400, "No such item", str(error)) from None
