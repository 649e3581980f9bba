"""The page that a browser gets while a pool wakes, and the answers to its questions.

One document without anything from elsewhere: style and script are inside, and its policy admits
only those two.
"""

import base64
import hashlib
import html
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from string import Template

from kotatsu_operator.activator.head import response
from kotatsu_operator.features.waiting_page.navigation import COOKIE

_WEB = Path(__file__).parent / "web"

RELOAD_AFTER = 5
"""Seconds after which a browser without scripts loads the page again."""

FORGET_AFTER = 120
"""Seconds after its last question for which a browser keeps since when it waits. Browsers let a tab
in the background ask once a minute."""


class Stage(Enum):
    """How far the start of a pod is; the page has a step for each."""

    NODE = "node"
    """No pod yet, or one that has no node."""
    IMAGE = "image"
    """Its node prepares it: volumes, network, images, init containers."""
    START = "start"
    """Its containers run, and it does not answer yet."""


@dataclass(frozen=True)
class Progress:
    """What is known of a wake."""

    stage: Stage
    waited: int
    """Seconds since this browser's first page."""
    usual: float | None = None
    """Seconds that an earlier wake took."""
    is_over: bool = False
    """Whether it took too long: the page stops asking."""


_WORDS = {
    "en": {
        "title": "Starting…",
        "heading": "This app is starting",
        "text": "It sleeps when nobody uses it. This page goes on by itself.",
        "node": "Finding a machine",
        "image": "Loading the app",
        "start": "Starting the app",
        "usual": "It usually takes about {seconds} seconds.",
        "over": "The app has not started yet.",
        "again": "Try again",
        "steps": "Steps",
    },
    "ja": {
        "title": "起動しています…",
        "heading": "アプリを起動しています",
        "text": "使われていない間は眠っています。準備ができると自動で切り替わります。",
        "node": "実行場所を探しています",
        "image": "アプリを読み込んでいます",
        "start": "アプリを起動しています",
        "usual": "いつもは{seconds}秒ほどかかります。",
        "over": "アプリはまだ起動していません。",
        "again": "もう一度試す",
        "steps": "手順",
    },
}


def page(progress: Progress, since: int, language: str) -> bytes:
    """The page as a whole HTTP/1 response.

    `since` is what the browser's cookie says from now on.

    503: the app is not there, so no cache, crawler or monitor takes the page for it.
    """
    style, script = _file("waiting.css"), _file("waiting.js")
    words = _WORDS[language]
    body = (
        Template(_file("waiting.html"))
        .substitute(
            {name: html.escape(text) for name, text in words.items()},
            language=language,
            stage=progress.stage.value,
            said=html.escape(words["over"] if progress.is_over else words[progress.stage.value]),
            usual=html.escape(_usual(progress, words)),
            waited=progress.waited,
            expected="" if progress.usual is None else f"{progress.usual:.1f}",
            state="over" if progress.is_over else "waiting",
            refresh="" if progress.is_over else _REFRESH,
            style=style,
            script=script,
        )
        .encode()
    )
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return response(
        "503 Service Unavailable",
        body,
        "Content-Type: text/html; charset=utf-8",
        f"Content-Language: {language}",
        f"Content-Security-Policy: {policy}",
        f"Retry-After: {RELOAD_AFTER}",
        "Referrer-Policy: no-referrer",
        _cookie(since),
        "X-Content-Type-Options: nosniff",
        "X-Robots-Tag: noindex",
    )


def progress_answer(progress: Progress, since: int) -> bytes:
    """The answer to a question of the page: the progress in one header."""
    stage = "over" if progress.is_over else progress.stage.value
    return response("200 OK", b"", f"Kotatsu-Waking: {stage}", _cookie(since))


def _cookie(since: int) -> str:
    return f"Set-Cookie: {COOKIE}={since}; Max-Age={FORGET_AFTER}; HttpOnly; SameSite=Lax"


# Only without scripts: with them the page asks, and reloads once the app answers.
_REFRESH = f'<noscript><meta http-equiv="refresh" content="{RELOAD_AFTER}"></noscript>'


def _usual(progress: Progress, words: dict[str, str]) -> str:
    if progress.usual is None:
        return ""
    return words["usual"].format(seconds=max(1, round(progress.usual)))


@lru_cache(maxsize=16)
def _hash(text: str) -> str:
    """The source of a Content-Security-Policy that admits exactly this style sheet or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@lru_cache(maxsize=8)
def _file(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8").strip()
