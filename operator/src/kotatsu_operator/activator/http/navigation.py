"""Which requests get the waiting page: navigations of browsers, and that page's questions. Pure.

An API client must never get the page. So what is not clearly a navigation is held as usual.
"""

import re
from dataclasses import dataclass
from enum import Enum

from kotatsu_operator.activator.http.peek import asks_to_upgrade, is_plain

QUESTION = b"kotatsu-waking"
"""The header of the page's questions, and of their answers. An answer without it is the app's."""

LANGUAGES = ("en", "ja")

_HEADER = re.compile(rb"\r\n([!-9;-~]+):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)")
_VALUE_LIMIT = 1024
"""Bytes of a header's value that are parsed."""


class Ask(Enum):
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

    what: Ask
    language: str = LANGUAGES[0]


_APP = Asked(Ask.APP)


def asked(head: bytes) -> Asked:
    """Read a complete request head.

    A navigation is a GET without a body or an upgrade, for a whole document: by Sec-Fetch-Mode and
    Sec-Fetch-Dest, or, since browsers send these only over TLS, by an Accept that names text/html.
    """
    if not is_plain(head) or asks_to_upgrade(head):
        return _APP
    sent = _headers(head)
    if head.startswith(b"HEAD ") and sent.get(QUESTION) == b"ask":
        return Asked(Ask.PROGRESS)
    if (
        not head.startswith(b"GET ")
        or _has_body(sent)
        or b"prefetch" in sent.get(b"sec-purpose", b"")
    ):
        return _APP
    mode = sent.get(b"sec-fetch-mode")
    if mode is None:
        is_navigation = b"text/html" in sent.get(b"accept", b"").lower()
    else:
        is_navigation = mode == b"navigate" and sent.get(b"sec-fetch-dest") == b"document"
    if not is_navigation:
        return _APP
    return Asked(Ask.PAGE, language_of(sent.get(b"accept-language", b"").decode("latin-1")))


def _headers(head: bytes) -> dict[bytes, bytes]:
    """The headers by lower-case name; of a repeated one the first."""
    found: dict[bytes, bytes] = {}
    for line in _HEADER.finditer(head):
        found.setdefault(line[1].lower(), line[2][:_VALUE_LIMIT])
    return found


def _has_body(sent: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in sent or sent.get(b"content-length", b"0") != b"0"


def language_of(accept: str) -> str:
    """The language of an Accept-Language header that the page has; English if it names none."""
    best, wanted = LANGUAGES[0], 0.0
    for part in accept.split(","):
        name, _, parameters = part.strip().partition(";")
        code = name.strip().lower().partition("-")[0]
        quality = _quality(parameters)
        if code in LANGUAGES and quality > wanted:
            best, wanted = code, quality
    return best


def _quality(parameters: str) -> float:
    found = re.fullmatch(r"^\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", parameters)
    if found is None:
        return 0.0 if parameters.strip() else 1.0
    return float(found[1])
