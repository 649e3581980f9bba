"""Which requests get the waiting page: navigations of browsers, and that page's questions. Pure.

An API client must never get the page. So what is not clearly a navigation is held as usual.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from kotatsu_operator.activator.head import asks_to_upgrade, headers, is_plain

QUESTION = b"kotatsu-waking"
"""The header of the page's questions, and of their answers. An answer without it is the app's."""

COOKIE = "kotatsu-waking"
"""The page's cookie: since when this browser waits. All activators of the pool can read it."""

LANGUAGES = ("en", "ja")

# Of several the first: browsers begin with that of the longest path.
_COOKIE = re.compile(
    rb"\r\ncookie:(?:[^;\r\n]*;)*?[ \t]*%b=([0-9]{1,12})[ \t]*[;\r]" % COOKIE.encode(),
    re.IGNORECASE,
)


class AskedFor(Enum):
    """What a request to a sleeping pool asks for."""

    PAGE = "page"
    """A navigation."""
    PROGRESS = "progress"
    """The page asks how far the wake is."""
    APP = "app"
    """Anything else: it is held for a pod."""


@dataclass(frozen=True)
class Asked:
    """What a request asks for, and in which language."""

    what: AskedFor
    language: str = LANGUAGES[0]
    since: int | None = None
    """What the page's cookie says, a Unix time; None without one."""


_APP = Asked(AskedFor.APP)


def asked(head: bytes) -> Asked:
    """Read a complete request head.

    A navigation is a GET without a body or an upgrade, for a whole document: by Sec-Fetch-Mode and
    Sec-Fetch-Dest. Browsers send these only over TLS; elsewhere it is by an Accept that names
    text/html and by Upgrade-Insecure-Requests, which browsers send for navigations alone. An Accept
    alone is no sign: HttpURLConnection of Java and scripts of pages send text/html too.
    """
    if not is_plain(head) or asks_to_upgrade(head):
        return _APP
    sent = headers(head)
    if head.startswith(b"HEAD ") and sent.get(QUESTION) == b"ask":
        return Asked(AskedFor.PROGRESS, since=_since(head))
    if (
        not head.startswith(b"GET ")
        or _has_body(sent)
        or b"prefetch" in sent.get(b"sec-purpose", b"")
    ):
        return _APP
    mode = sent.get(b"sec-fetch-mode")
    if mode is None:
        is_navigation = sent.get(b"upgrade-insecure-requests") == b"1" and _accepts_html(sent)
    else:
        is_navigation = mode == b"navigate" and sent.get(b"sec-fetch-dest") == b"document"
    if not is_navigation:
        return _APP
    language = language_of(sent.get(b"accept-language", b"").decode("latin-1"))
    return Asked(AskedFor.PAGE, language, _since(head))


def _since(head: bytes) -> int | None:
    found = _COOKIE.search(head)
    return None if found is None else int(found[1])


def _accepts_html(sent: dict[bytes, bytes]) -> bool:
    accept = sent.get(b"accept", b"").decode("latin-1")
    return any(name == "text/html" and quality > 0 for name, quality in _preferences(accept))


def _has_body(sent: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in sent or sent.get(b"content-length", b"0") != b"0"


def language_of(accept: str) -> str:
    """The language of an Accept-Language header that the page has; English if it names none."""
    best, wanted = LANGUAGES[0], 0.0
    for name, quality in _preferences(accept):
        code = name.partition("-")[0]
        if code in LANGUAGES and quality > wanted:
            best, wanted = code, quality
    return best


def _preferences(value: str) -> Iterator[tuple[str, float]]:
    """The entries of an Accept or Accept-Language header, in lower case, and their qualities."""
    for part in value.lower().split(","):
        name, *parameters = part.split(";")
        yield name.strip(), _quality(parameters)


def _quality(parameters: list[str]) -> float:
    """The quality that parameters name: 1 if none does, 0 if it is not valid (RFC 9110, 12.4.2)."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            found = re.fullmatch(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", value.strip())
            return 0.0 if found is None else float(found[0])
    return 1.0
