"""Makes any text harmless to speak, or says what is wrong with it. Pure.

The rules are here because of what speech engines do without them: kana repeated many times make
Open JTalk's filter blow up (ten ハ: 150 times full scale; five hundred あ: 10^61 times), what has
no reading gives no sound and no error, half a surrogate pair raises deep inside, and memory grows
with the length of a sentence.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from kotatsu_voice.reading import addresses, kanji

# A repeated unit of up to four characters is heard at most this often. Digits mean what they say.
MAX_REPEATS = 3
_REPEATED = re.compile(rf"([^\d\s]{{1,4}}?)\1{{{MAX_REPEATS},}}")

# One piece is synthesized at a time. A longer sentence is parted at a comma, else at the end of a
# phrase. Only what has neither is parted anywhere.
PIECE_CHARACTERS = 60
HARD_PIECE_CHARACTERS = 120
# The first one is short where a comma, the end of a topic or of a phrase allows, so that a stream
# starts early.
FIRST_PIECE_CHARACTERS = 12
# A first sentence of so many characters without a comma is not parted at a phrase.
FIRST_WHOLE_CHARACTERS = 20
# No shorter piece is made at a phrase: 今日は by itself is a greeting, and read otherwise.
PHRASE_CHARACTERS = 4
# Open JTalk pauses for half a second at a comma inside a piece. A piece keeps 30 ms of silence at
# each end, so with these a comma sounds the same at the end of a piece.
SENTENCE_PAUSE = 0.6
COMMA_PAUSE = 0.44
TOPIC_PAUSE = 0.05

_SAID_OTHERWISE = {"℃": "度", "°C": "度", "°": "度", "…": "、", "‥": "、", "～": "ー", "〜": "ー"}
_SENTENCE = re.compile(r".*?(?:[。！？]+[」』）)\"']*|(?<=[A-Za-z])\.(?=\s|$)|$)", re.DOTALL)
_COMMA_IN = re.compile(r"[、，]|,(?!(?<=\d,)\d)")
# A comma between digits belongs to the number.
_COMMA = re.compile(r"(?:[^、，,]|(?<=\d),(?=\d))*[、，,]?")
# A topic marker between kanji or katakana ends a word, and a sentence can be parted there.
# Not after two characters: 今日は and 今晩は by themselves are greetings, and read otherwise.
_TOPIC = re.compile(r"(?<=...[\u3400-\u9fff\u30a0-\u30ff々])は(?=[\u3400-\u9fff\u30a1-\u30fa])")
# Ends of phrases. Not beside a digit: a number is read by what is around it.
_WORD = "A-Za-z\u3400-\u9fff\u30a1-\u30fa"
# A particle or an ending before a kanji, katakana or a Latin letter; a space after a Japanese word.
_PARTICLE = (
    rf"(?<=[ぁ-ゖー\u3400-\u9fff])\s(?=[ぁ-ゖ{_WORD}])"
    r"|(?:(?<![我\d%])[はがをに]|(?<=[A-Za-z\u3400-\u9fff\u30a1-\u30ff々])[でとも]"
    rf"|から|まで|ので|です|ます|ました|して|って|ながら)(?=[{_WORD}])"
)
# を and some endings between kana, and two kana before a kanji: 取り扱い has one.
_AMONG_KANA = (
    r"を(?=[ぁ-ゖ])|(?:から|まで|ので|ました|です|って|して)(?=[あそだつはひふほまむめやゆ])"
    rf"|(?<=[ぁ-ゖ]{{2}})(?<![おごっ])(?=[{_WORD}])"
)
# A space between Latin words, and katakana beside kanji: two words of a compound.
_COMPOUND = (
    r"(?<=[A-Za-z])\s(?=[A-Za-z])"
    r"|(?<=[ァ-ヺー])(?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff々])(?=[ァ-ヺ])"
)
# The surest first.
_PHRASES = tuple(map(re.compile, (_PARTICLE, _AMONG_KANA, _COMPOUND)))
# A wave after kana lengthens it; between other words, and after a number, it means "from".
_FROM_TO = re.compile(
    r"(?<=[\dA-Za-z%％℃\u3400-\u9fff々])[~～〜](?=[-−+¥￥$€£\dA-Za-z\u3400-\u9fff])"
    r"|(?:(?<=\d)|(?<=\d[時分秒月日年円度%％℃]))[~～〜](?=$|[\s。、)）にのでだ])"
)
_UNREADABLE = "\ufffd"


class TextError(ValueError):
    """The text can't be spoken; title and detail say why."""

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}")
        self.title = title
        self.detail = detail


@dataclass(frozen=True)
class Piece:
    """Something to speak in one go, and the seconds of silence after it."""

    text: str
    pause: float


@lru_cache(maxsize=256)
def prepare(text: str | None, limit: int) -> str:
    """`text` as it will be spoken; TextError if it is empty, too long or has nothing to speak.

    `limit` counts characters, before and after compatibility characters are written out
    (㍿ becomes 株式会社). Kanji get the form that has a reading (髙橋 becomes 高橋).
    """
    if text is None or not text.strip():
        raise TextError("Text not provided", "Send some text to speak.")
    if len(text) > limit:
        raise _too_long(len(text), limit)
    if any("\ud800" <= character <= "\udfff" for character in text) or _UNREADABLE in text:
        raise TextError("Text is not readable", "It has broken characters; send it as UTF-8.")
    text = _FROM_TO.sub("から", text)
    for seen, said in _SAID_OTHERWISE.items():
        text = text.replace(seen, said)
    text = unicodedata.normalize("NFKC", text).translate(kanji.VARIANTS)
    if len(text) > limit:
        raise _too_long(len(text), limit)
    text = re.sub(r"[\r\n\u2028\u2029]+", "。", text.strip())
    text = "".join(_kept(character) for character in text)
    text = addresses.protect(text, {"!": "！", "?": "？"})
    text = re.sub(r"\.{2,}", "、", text)
    text = _REPEATED.sub(lambda match: match[1] * MAX_REPEATS, text)
    text = re.sub(r"\s+", " ", text).strip()
    if not speakable(text):
        raise TextError("Nothing to speak", "The text has no letters, kana, kanji or digits.")
    return text


def _too_long(length: int, limit: int) -> TextError:
    return TextError("Text is too long", f"It has {length} characters; at most {limit} are spoken.")


def _kept(character: str) -> str:
    """The character itself, or what is left of it: emoji, marks and controls have no sound."""
    category = unicodedata.category(character)
    if category in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    if category in ("Cf", "Cn", "Co", "Cs", "Me", "Mn", "Sk", "So"):
        return ""
    return character


def speakable(text: str) -> bool:
    """Whether anything in it could have a reading (a lengthening mark alone has none)."""
    return any(
        category[0] in "LN" and category != "Lm" for category in map(unicodedata.category, text)
    )


def pieces(text: str) -> list[Piece]:
    """Sentences of a prepared text, the long ones parted; each has something to speak."""
    parts: list[Piece] = []
    for match in _SENTENCE.finditer(text):
        limit = PIECE_CHARACTERS if parts else FIRST_PIECE_CHARACTERS
        clauses = _clauses(match[0].strip().lstrip("ー"), limit)
        for number, clause in enumerate(clauses, start=1):
            pause = SENTENCE_PAUSE if number == len(clauses) else _pause_after(clause)
            parts.append(Piece(clause, pause))
    return parts


def _pause_after(clause: str) -> float:
    return COMMA_PAUSE if _COMMA_IN.match(clause[-1]) else TOPIC_PAUSE


def _clauses(sentence: str, limit: int) -> list[str]:
    """Cut a sentence so that each part is short enough and has something to speak.

    `limit` is for the first part, which may also end after a topic or a phrase.
    """
    if limit < PIECE_CHARACTERS and len(sentence) > limit:
        head, end = sentence[: limit + 1], 0
        if not _COMMA_IN.search(head):
            topic = _TOPIC.search(head)
            end = topic.end() if topic else 0
        if not end and len(sentence) > FIRST_WHOLE_CHARACTERS:
            first = _COMMA.findall(sentence)[0]
            end, *_ = _phrase_ends(first, limit, limit * 3 // 2, PIECE_CHARACTERS) or [0]
        if end and speakable(sentence[:end]):
            return [sentence[:end].rstrip(), *_clauses(sentence[end:], PIECE_CHARACTERS)]
    clauses = [""]
    for clause in [sentence] if len(sentence) <= limit else _COMMA.findall(sentence):
        for part in _phrases(clause):
            if len(clauses[-1]) + len(part) <= (PIECE_CHARACTERS if len(clauses) > 1 else limit):
                clauses[-1] += part
            else:
                clauses.append(part)
    return [clause for clause in clauses if speakable(clause)]


def _phrases(clause: str) -> Iterator[str]:
    """Parts of a clause: itself if it is short, else up to ends of phrases, else anywhere."""
    while len(clause) > PIECE_CHARACTERS:
        limits = PIECE_CHARACTERS, HARD_PIECE_CHARACTERS
        *_, end = _phrase_ends(clause, *limits) or [HARD_PIECE_CHARACTERS]
        yield clause[:end]
        clause = clause[end:]
    yield clause


def _phrase_ends(clause: str, *limits: int) -> list[int]:
    """Where its phrases end, of the surest kind within the first of the limits that has any."""
    for limit, phrase in product(limits, _PHRASES):
        ends = [found.end() for found in phrase.finditer(clause[: limit + 1])]
        if ends := [end for end in ends if PHRASE_CHARACTERS <= end <= limit]:
            return ends
    return []
