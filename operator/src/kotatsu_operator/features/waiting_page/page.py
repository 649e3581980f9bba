"""The page that a browser gets while a pool wakes, and its visitors.

One document without anything from elsewhere: style and script are inside, and its policy admits
only those two.
"""

import base64
import hashlib
import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from string import Template

from kotatsu_operator.activator.feature import Context, Feature
from kotatsu_operator.activator.head import response
from kotatsu_operator.activator.pool import Pool
from kotatsu_operator.features.waiting_page.navigation import COOKIE, Asked, AskedFor, asked

_DOCUMENT, _STYLE, _SCRIPT = (
    (Path(__file__).parent / "web" / name).read_text(encoding="utf-8").strip()
    for name in ("waiting.html", "waiting.css", "waiting.js")
)


def _hash(text: str) -> str:
    """The source of a Content-Security-Policy that admits exactly this style sheet or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_POLICY = (
    f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'; "
    "img-src data:; font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

RELOAD_AFTER = 5
"""Seconds after which a browser without scripts loads the page again."""

FORGET_AFTER = 120
"""Seconds after its last question for which a browser keeps since when it waits. Browsers let a tab
in the background ask once a minute."""

WAITS_FOR = 10.0
"""Seconds after its last request for which a page counts as waiting. It asks every two seconds, or
is loaded again every five."""

PATIENCE = 15 * 60
"""Seconds after which a page stops: a forgotten tab must not keep up a pool that never starts."""

OVER = 0
"""The time in the cookie of a page that has stopped."""


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
        "text": "It sleeps while it is not used. This page continues by itself.",
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
    words = _WORDS[language]
    body = (
        Template(_DOCUMENT)
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
            style=_STYLE,
            script=_SCRIPT,
        )
        .encode()
    )
    return response(
        "503 Service Unavailable",
        body,
        "Content-Type: text/html; charset=utf-8",
        f"Content-Language: {language}",
        f"Content-Security-Policy: {_POLICY}",
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


class Visitors(Feature):
    """Who waits for a pool without a held connection. They count as one request while they wait.

    A cookie says since when a browser waits. Any activator of the pool may get its next question,
    so none of them could count the time alone.
    """

    def __init__(
        self,
        context: Context,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._context, self._clock, self._wall_clock = context, clock, wall_clock
        self._last = float("-inf")

    @property
    def are_waiting(self) -> bool:
        """Whether a page waits, so that the pool must wake. May be called from any thread."""
        return self._clock() - self._last < WAITS_FOR

    def answer(self, pool: Pool, head: bytes) -> bytes | None:
        """The answer to a browser, if the pool has a page; anything else is held."""
        if not pool.page:
            return None
        asks = asked(head)
        return None if asks.what is AskedFor.APP else self.reply(pool, asks)

    def reply(self, pool: Pool, ask: Asked) -> bytes:
        """The answer to a navigation or to a question of the page."""
        now, is_page = int(self._wall_clock()), ask.what is AskedFor.PAGE
        since = now if ask.since is None else ask.since
        if since == OVER and is_page:
            since = now  # somebody tries again
        elif now - since >= PATIENCE:
            since = OVER
        is_over = since == OVER
        if not is_over:
            self._last = self._clock()
        waited = 0 if is_over else max(now - since, 0)
        progress = Progress(self._stage(pool), waited, pool.usual_wake, is_over=is_over)
        return page(progress, since, ask.language) if is_page else progress_answer(progress, since)

    def _stage(self, pool: Pool) -> Stage:
        """The stage of the pod that is furthest."""
        starts = self._context.view.starts_of(pool)
        if any(start.started_at is not None for start in starts):
            return Stage.START
        return Stage.IMAGE if any(s.scheduled_at is not None for s in starts) else Stage.NODE
