"""A row of the first version's table `Users` as a pet. Pure.

The table kept numbers as N, the day of the last meal as a date in Tokyo, and clothes and background
as the app sent them: keys or Japanese labels. The level is not read: experience has it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from kotatsu_common.identity import AVATAR_URL, LOGIN
from kotatsu_feed.domain.names import DEFAULT_NAME, BadNameError, clean_name
from kotatsu_feed.domain.pet import Pet
from kotatsu_feed.domain.wardrobe import BACKGROUNDS, CLOTHES, UnknownItemError, Wardrobe

MOST_EXPERIENCE = 10**12
MOST_MEALS = 10**6
_NUMBER = re.compile(r"[0-9]{1,19}")
_LOGIN, _AVATAR_URL = re.compile(LOGIN), re.compile(AVATAR_URL)
_SHOWN = 40
"""Characters of a value that a message repeats."""


class NoPetError(ValueError):
    """The item can't be a pet; the text says why."""


@dataclass(frozen=True)
class Brought:
    """A pet of the export, since when there is one, and what of it could not be kept."""

    pet: Pet
    created_at: datetime
    notices: tuple[str, ...] = ()


@dataclass
class _Row:
    """Reads attributes, and notes those that are replaced by a default."""

    item: Mapping[str, Any]
    notices: list[str] = field(default_factory=list)

    def value(self, name: str, kind: str) -> str | None:
        """An attribute of the kind S or N; None if the item has none, or NULL."""
        attribute = self.item.get(name)
        if attribute is None or attribute == {"NULL": True}:
            return None
        if isinstance(attribute, dict) and isinstance(attribute.get(kind), str):
            return str(attribute[kind])
        raise NoPetError(f"{name} is {shown(attribute)}, and not of the type {kind}")

    def number(self, name: str, most: int) -> int:
        """A whole number of at most `most`; 0 if the item has none."""
        text = self.value(name, "N")
        if text is None:
            return 0
        if not _NUMBER.fullmatch(text) or int(text) > most:
            raise NoPetError(f"{name} is {shown(text)}, and not a whole number up to {most}")
        return int(text)

    def matching(self, name: str, pattern: re.Pattern[str], otherwise: str) -> str:
        """Text of a form."""
        text = self.value(name, "S")
        if text is not None and pattern.fullmatch(text):
            return text
        return self.replaced(name, text, otherwise)

    def choice(self, name: str, wardrobe: Wardrobe) -> str:
        """Something to wear, or a place to live."""
        text = self.value(name, "S")
        try:
            return wardrobe.default if text is None else wardrobe.key(text)
        except UnknownItemError:
            return self.replaced(name, text, wardrobe.default)

    def name(self) -> str:
        """What the pet is called."""
        text = self.value("characterName", "S")
        try:
            return DEFAULT_NAME if text is None else clean_name(text)
        except BadNameError:
            return self.replaced("characterName", text, DEFAULT_NAME)

    def replaced(self, name: str, value: str | None, otherwise: str) -> str:
        """`otherwise`, and a notice."""
        self.notices.append(f"{name} is {shown(value)}; {shown(otherwise)} is used")
        return otherwise


def brought(item: Mapping[str, Any], now: datetime, today: date) -> Brought:
    """The pet of an item; NoPetError if it has none, or a number in it is no number."""
    row = _Row(item)
    user_id = row.value("userId", "S")
    if user_id is None or not _NUMBER.fullmatch(user_id) or not 0 < int(user_id) < 2**63:
        raise NoPetError(f"userId is {shown(user_id)}, and not the number of a GitHub user")
    fed_count = row.number("feededCount", MOST_MEALS)
    fed_on = _day(row.value("lastFeedDate", "S"), today)
    pet = Pet(
        user_id=int(user_id),
        login=row.matching("userName", _LOGIN, f"user-{int(user_id)}"),
        avatar_url=row.matching(
            "avatarUrl", _AVATAR_URL, f"https://avatars.githubusercontent.com/u/{int(user_id)}"
        ),
        name=row.name(),
        experience=row.number("characterExperience", MOST_EXPERIENCE),
        clothes=row.choice("characterClothes", CLOTHES),
        background=row.choice("characterBackground", BACKGROUNDS),
        fed_on=fed_on if fed_count else None,
        fed_count=fed_count if fed_on else 0,
    )
    return Brought(pet, _instant(row.value("created_at", "S"), now), tuple(row.notices))


def _day(text: str | None, today: date) -> date | None:
    """The day of the last meal. One that is no day, or still to come, would only stop meals."""
    try:
        day = None if text is None else date.fromisoformat(text)
    except ValueError:
        return None
    return day if day is not None and day <= today else None


def _instant(text: str | None, now: datetime) -> datetime:
    try:
        instant = now if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return now
    return min(instant, now)


def shown(value: object) -> str:
    """A value of the file in a message: short, on one line, without control characters."""
    text = "missing" if value is None else json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
