"""Writes a text as Open JTalk reads it rightly. Pure, and linear in the length of the text.

Open JTalk's dictionary has Japanese words and numbers. It has no reading for most signs, ignores a
minus, and spells English words letter by letter. voicevox_core has the same dictionary and no rules
for any of that. VOICEVOX ENGINE has rules of its own, and gets the text as it is.
"""

import re
from collections.abc import Callable

from kotatsu_voice.reading import addresses
from kotatsu_voice.reading.words import NAMES

_WORD = re.compile(r"[A-Za-z]+(?:[-'’][A-Za-z]+)*")
_NAME = re.compile("|".join(NAMES))
# The dictionary reads 一二三 as a number, with a lengthened two. By itself it is a count or a name.
_NUMERALS = r"[\d〇一二三四五六七八九十百千万億兆]"
_ONE_TWO_THREE = re.compile(
    f"(?<!{_NUMERALS})一二三(?:(さん|ちゃん|くん|[君様氏])|(?!{_NUMERALS}))"
)
# The dictionary reads 何 as なに everywhere; before these it is なん.
_NAN = re.compile("何(?=[でだのとな])")
# voicevox_core reads 分 after a number as minutes. Between two numbers it is a fraction, except
# where it is a time: 10時30分の1.
_NUMERAL = "[0-9一二三四五六七八九十百千万]"
_FRACTION = re.compile(f"(時間?{_NUMERAL}{{1,4}}分の)|(?<={_NUMERAL})分の(?={_NUMERAL})")
_PLAIN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff々、。！？「」\s]*")


def read(text: str, english: Callable[[str], str]) -> str:
    """`text`, a piece of a prepared text, in words that Open JTalk knows.

    `english` gives the reading of a word of Latin letters, or the word itself to have it spelled.
    """
    text = _NAME.sub(lambda name: NAMES[name[0]], text)
    text = _ONE_TWO_THREE.sub(lambda it: f"ひふみ{it[1]}" if it[1] else "いちにさん", text)
    text = _NAN.sub("なん", text)
    text = _FRACTION.sub(lambda found: found[1] or "ぶんの", text)
    if _PLAIN.fullmatch(text):
        return text
    # Compiling the rules takes some milliseconds, which a start can do without.
    from kotatsu_voice.reading import rules

    text = addresses.read(text)
    text = rules.read(text)
    return _WORD.sub(lambda word: english(word[0]), text)
