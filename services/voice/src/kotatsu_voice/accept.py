"""Which form of an answer a client wants (RFC 9110, section 12.5.1)."""

import re
from collections.abc import Sequence

_WEIGHT = re.compile(r"[01](?:\.[0-9]{0,3})?")


def choose(accept: str | None, offered: Sequence[str]) -> str:
    """The media type of `offered` that `accept` likes best; the first one wins a tie.

    A client that names none of them gets the first: the standard allows it, and apps that put
    `Accept: application/json` on every call still want to hear something.
    """
    if not accept:
        return offered[0]
    wishes = [_wish(part) for part in accept.split(",")]
    weights = {media: _weight(media, wishes) for media in offered}
    best = max(weights.values())
    return next(media for media in offered if weights[media] == best)


def _wish(part: str) -> tuple[str, float]:
    media, *parameters = (item.strip().lower() for item in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media, float(value) if _WEIGHT.fullmatch(value.strip()) else 0.0
    return media, 1.0


def _weight(media: str, wishes: Sequence[tuple[str, float]]) -> float:
    """The weight of the most specific wish that covers `media`; 0 if none does."""
    for pattern in (media, media.split("/")[0] + "/*", "*/*"):
        weights = [weight for wish, weight in wishes if wish == pattern]
        if weights:
            return max(weights)
    return 0.0
