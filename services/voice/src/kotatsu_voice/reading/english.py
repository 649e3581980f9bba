"""English words in katakana: by the table, by Open JTalk's own dictionary, or by kanalizer.

kanalizer is the library of VOICEVOX ENGINE: a small model inside a wheel, without dependencies. It
is loaded with the first word that needs it. VOICEVOX ENGINE's limits hold here too: words in
capitals, and those of one or two letters, are spelled.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from kotatsu_voice.reading.words import WORDS

# The model's time grows faster than the length of a word. Longer ones are spelled.
LONGEST_WORD = 24
SHORTEST_WORD = 3
# Readings that are kept, so that each word is looked up once.
KEPT_WORDS = 4096
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_VOWEL = re.compile(r"[aeiouy]")


def reader(knows: Callable[[str], bool]) -> Callable[[str], str]:
    """`katakana` with the library's guesses, which keeps the latest readings."""
    return lru_cache(KEPT_WORDS)(lambda word: katakana(word, knows, guessed))


def katakana(word: str, knows: Callable[[str], bool], guess: Callable[[str], str]) -> str:
    """The reading of `word`, or the word itself to have it spelled.

    `knows` says whether Open JTalk's dictionary has a word as it is written; `guess` gives the
    reading of a word in lower case. `word` may have hyphens and apostrophes.
    """
    said = WORDS.get(word.lower().replace("’", "'"))
    if said is not None:
        return said
    if "-" in word:
        return "".join(katakana(part, knows, guess) for part in word.split("-"))
    word = word.replace("’", "").replace("'", "")
    if not SHORTEST_WORD <= len(word) <= LONGEST_WORD:
        return word
    for written in (word, word.lower(), word.capitalize()):
        if knows(written):
            return written
    parts = _PARTS.findall(word)
    if len(parts) > 1:
        return "".join(katakana(part, knows, guess) for part in parts)
    if word.isupper() or not _VOWEL.search(word.lower()):
        return word
    return guess(word.lower())


def guessed(word: str) -> str:
    """Reading of a word in lower case by kanalizer; the word itself if it finds no end."""
    import kanalizer

    try:
        return str(kanalizer.convert(word, max_length=2 * len(word) + 2, on_incomplete="error"))
    except kanalizer.IncompleteConversionError:
        return word
