"""A text that comes in parts, as whole sentences."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

LONGEST = 500
"""Characters without the end of a sentence that are waited for."""
_END = re.compile(r"[。！？!?\n]+")


async def sentences(parts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Each sentence as soon as it has its end, and what is left when there are no more parts.

    Parts without a letter, such as a mark that came late, are left out.
    """
    rest = ""
    async with aclosing(parts):
        async for part in parts:
            rest += part
            while (end := _END.search(rest)) is not None:
                sentence, rest = rest[: end.end()], rest[end.end() :]
                if _has_words(sentence):
                    yield sentence
            if len(rest) > LONGEST:
                break
    if _has_words(rest):
        yield rest


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)
