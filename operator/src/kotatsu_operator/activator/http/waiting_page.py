"""The page that a browser gets while a pool wakes, and the answers to its questions.

One document without anything from elsewhere: style and script are inside, and its policy admits
only those two. The look is a style sheet, so another one cannot change what the page says or does.
"""

import base64
import hashlib
import html
import logging
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from string import Template

from kotatsu_operator.activator.http.answers import response

log = logging.getLogger(__name__)

_WEB = Path(__file__).parents[1] / "web"

RELOAD_AFTER = 5
"""Seconds after which a browser without scripts loads the page again."""

OWN_LOOK = "default"
"""The name of the page's own look."""

_LOOK = "page.css"
"""The key of a ConfigMap that is used."""

LIMIT = 64 * 1024
"""Bytes of a style sheet."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


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
    waited: float
    """Seconds since the first page of this wake."""
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


def page(progress: Progress, language: str, look: str | None = None) -> bytes:
    """The page as a whole HTTP/1 response. `look` is a style sheet in place of the page's own.

    503: the app is not there, so no cache, crawler or monitor takes the page for it.
    """
    style = _file("waiting.css") if look is None else look
    script = _file("waiting.js")
    words = _WORDS[language]
    body = (
        Template(_file("waiting.html"))
        .substitute(
            {name: html.escape(text) for name, text in words.items()},
            language=language,
            stage=progress.stage.value,
            said=html.escape(words["over"] if progress.is_over else words[progress.stage.value]),
            usual=html.escape(_usual(progress, words)),
            waited=f"{progress.waited:.1f}",
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
        "X-Content-Type-Options: nosniff",
        "X-Robots-Tag: noindex",
    )


def progress_answer(progress: Progress) -> bytes:
    """The answer to a question of the page: the progress in one header."""
    stage = "over" if progress.is_over else progress.stage.value
    return response("200 OK", b"", f"Kotatsu-Waking: {stage}")


# Only without scripts: with them the page asks, and reloads once the app answers.
_REFRESH = f'<noscript><meta http-equiv="refresh" content="{RELOAD_AFTER}"></noscript>'


def _usual(progress: Progress, words: dict[str, str]) -> str:
    if progress.usual is None:
        return ""
    return words["usual"].format(seconds=max(1, round(progress.usual)))


def look(folder: Path, name: str) -> str | None:
    """The style sheet of a look; None for the page's own, also if there is no usable one.

    The kubelet replaces a mounted file within about a minute, so each page checks its time.
    """
    if name == OWN_LOOK or _NAME.fullmatch(name) is None:
        return None
    file = folder / name / _LOOK
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _style(file, changed)


@lru_cache(maxsize=64)
def _style(file: Path, _changed: int) -> str | None:
    """Read a style sheet; logs once for each version why it cannot be used."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LIMIT + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s: the waiting page keeps its own look: %s", file, error)
        return None
    if len(data) > LIMIT or "<" in text:
        why = "it has a <" if "<" in text else f"it is longer than {LIMIT} bytes"
        log.warning("%s: the waiting page keeps its own look: %s", file, why)
        return None
    return text.strip()


@lru_cache(maxsize=16)
def _hash(text: str) -> str:
    """The source of a Content-Security-Policy that admits exactly this style sheet or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@lru_cache(maxsize=8)
def _file(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8").strip()
