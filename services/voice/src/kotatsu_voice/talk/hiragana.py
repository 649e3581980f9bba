"""Only what the bird can say: hiragana, a few marks, at most 140 characters. Pure."""

import re
import unicodedata

LIMIT = 140
_SPOKEN = re.compile(r"[ぁ-ゖー、。！？ ]+")
_ENDS = "。！？"
_FEWEST = 2


def line_of(answer: str) -> str | None:
    """A model's answer as a line of the bird; None if it is no such line.

    Katakana becomes hiragana; quotes, line breaks and emoji go. Kanji and letters can't be read
    reliably from here, so an answer with them is refused. A long answer ends at its last whole
    sentence.
    """
    text = unicodedata.normalize("NFKC", answer)
    text = text.replace("!", "！").replace("?", "？").replace("~", "ー").replace("〜", "ー")
    text = "".join(map(_kept, text))
    text = re.sub(r"\s+", " ", text).strip()
    if not _SPOKEN.fullmatch(text) or sum("ぁ" <= c <= "ゖ" for c in text) < _FEWEST:
        return None
    return _shortened(text)


def _kept(character: str) -> str:
    if "ァ" <= character <= "ヶ":
        return chr(ord(character) - ord("ァ") + ord("ぁ"))
    if character in "「」『』()\"'・…*_♪":
        return ""
    category = unicodedata.category(character)
    if category in ("Cc", "Zs"):
        return " "
    return "" if category in ("So", "Sk", "Cf", "Mn", "Me") else character


def _shortened(text: str) -> str:
    if len(text) <= LIMIT:
        return text
    end = max(text.rfind(mark, 0, LIMIT) for mark in _ENDS)
    return text[: end + 1] if end > 0 else text[:LIMIT]
