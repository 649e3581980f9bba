"""What the pet can wear and where it can live.

Clients send either the English key, which is what is stored and answered, or the Japanese label
that the app shows on its buttons.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_SEASONS = {"春": "spring", "夏": "summer", "秋": "autumn", "冬": "winter"}


class UnknownItemError(ValueError):
    """Nobody offers this item; the text lists what there is."""


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """One closed choice: its default, its keys, and the other names that mean a key."""

    default: str
    keys: tuple[str, ...]
    aliases: Mapping[str, str]

    def key(self, item: str) -> str:
        """The stored key that `item`, a key or a label, means; UnknownItemError if none."""
        name = unicodedata.normalize("NFC", item)
        if name in self.keys:
            return name
        if name in self.aliases:
            return self.aliases[name]
        raise UnknownItemError(
            f"Choose one of {', '.join(self.keys)} (or {'、'.join(self.labels())})."
        )

    def labels(self) -> tuple[str, ...]:
        """The Japanese labels, in the order in which the app shows them."""
        return tuple(alias for alias in self.aliases if not alias.isascii())


CLOTHES = Wardrobe(
    default="normal",
    keys=("normal", *_SEASONS.values()),
    aliases=MappingProxyType({"デフォルト": "normal", **_SEASONS}),
)
# The default background is spring: it has no key of its own.
BACKGROUNDS = Wardrobe(
    default="spring",
    keys=tuple(_SEASONS.values()),
    aliases=MappingProxyType({"default": "spring", "デフォルト": "spring", **_SEASONS}),
)
