"""How people say an address: the scheme is left out, and every sign has a name."""

import re
from collections.abc import Callable

# An address has no spaces and no Japanese, so one look at each run of ASCII decides.
_RUN = re.compile(r"[!-~？！]+")
# From the first character on: tried at each one, a long run would take quadratic time.
_URL = re.compile(r"^(?:[a-z][a-z0-9+]*://|www\.).+", re.IGNORECASE)
_DOMAIN = re.compile(r"^[A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*)+/.*", re.ASCII)
_EMAIL = re.compile(r"^[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_SCHEME = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)
_AROUND = "()[]<>\"'.,;:!?！？"
SIGNS = {
    ".": "ドット",
    "/": "スラッシュ",
    ":": "コロン",
    "@": "アットマーク",
    "?": "ハテナ",
    "=": "イコール",
    "&": "アンド",
    "#": "シャープ",
    "%": "パーセント",
    "-": "ハイフン",
    "_": "アンダーバー",
    "+": "プラス",
    "~": "チルダ",
}
_SIGN = re.compile("[" + re.escape("".join(SIGNS)) + "]")


def is_address(run: str) -> bool:
    """Whether a run of ASCII without spaces is a URL or an e-mail address."""
    return any(kind.fullmatch(run) for kind in (_URL, _DOMAIN, _EMAIL))


def within(run: str) -> tuple[int, int]:
    """Where an address in `run` begins and ends, without the punctuation around it."""
    return len(run) - len(run.lstrip(_AROUND)), len(run.rstrip(_AROUND))


def read(text: str) -> str:
    """The text with each address written out."""
    return _each(text, _spoken, str)


def protect(text: str, sentence_mark: dict[str, str]) -> str:
    """Replace the keys of `sentence_mark`, single characters, everywhere but in addresses."""
    marks = str.maketrans(sentence_mark)
    return _each(text, str, lambda rest: rest.translate(marks))


def _each(text: str, address: Callable[[str], str], rest: Callable[[str], str]) -> str:
    """The text with its addresses, and the other ASCII around them, replaced."""

    def one(match: re.Match[str]) -> str:
        run = match[0]
        start, end = within(run)
        if not is_address(run[start:end]):
            return rest(run)
        return rest(run[:start]) + address(run[start:end]) + rest(run[end:])

    return _RUN.sub(one, text)


def _spoken(address: str) -> str:
    bare = _SCHEME.sub("", address).rstrip("/")
    return _SIGN.sub(lambda sign: SIGNS[sign[0]], bare)
