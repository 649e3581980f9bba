"""The show: install, look, tell the story, send its requests, sum up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

from kotatsu_demo.answers import Answer
from kotatsu_demo.bill import bill
from kotatsu_demo.errors import DemoError
from kotatsu_demo.images import ROOT, Built
from kotatsu_demo.install import POOL, Installation
from kotatsu_demo.kube import Kube
from kotatsu_demo.reader import Reader
from kotatsu_demo.screen import Screen
from kotatsu_demo.speech import Client
from kotatsu_demo.story import Act, Event, Story, Wish
from kotatsu_demo.windows import IDLE_AFTER, window_from

_LOOK_EVERY_SECONDS = 0.2
_SETTLE_SECONDS = 120.0
_SETTLING = (
    "not asleep yet (a new install starts a pod, a request leaves one for"
    f" {IDLE_AFTER.total_seconds():.0f} s); waiting until it sleeps"
)


def now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


class Show:
    """One run of the demo on a cluster where everything is installed."""

    def __init__(
        self,
        kube: Kube,
        installation: Installation,
        built: Sequence[Built],
        screen: Screen,
        mp3: Path,
    ) -> None:
        self._kube, self._installation, self._built = kube, installation, built
        self._screen, self._mp3 = screen, mp3

    def run(self) -> list[Event]:
        """Show it all; the events, the bill last."""
        try:
            return self._run()
        except DemoError as error:
            describe = f"kubectl -n {self._kube.namespace} describe warmpool {POOL}"
            error.hint = error.hint or f"{describe}; `make demo` tries again"
            raise

    def _run(self) -> list[Event]:
        image = next(one.reference for one in self._built if one.image.name == POOL)
        self._screen.begin()
        with Client(self._kube, image, POOL) as client, Reader(self._kube, POOL) as reader:
            self._settle(reader)
            window = window_from(now(), reader.status)
            self._screen.doing(reader.read(), "giving the pool its window")
            self._installation.open_window(self._built, window)
            return self._tell(Story(window, str(self._mp3.relative_to(ROOT))), reader, client)

    def _settle(self, reader: Reader) -> None:
        give_up = time.monotonic() + _SETTLE_SECONDS
        seen = reader.read()
        if not seen.is_asleep:
            self._screen.event(seen, Event("settling", _SETTLING))
        while not (seen := reader.read()).is_asleep:
            if time.monotonic() > give_up:
                why = seen.refusal or f"phase {seen.phase or 'not set: does the operator run?'}"
                raise DemoError(f"the pool is not asleep after {_SETTLE_SECONDS:.0f} s: {why}")
            self._screen.doing(seen, f"waiting for sleep, {seen.pods} pods left")
            time.sleep(_LOOK_EVERY_SECONDS)

    def _tell(self, story: Story, reader: Reader, client: Client) -> list[Event]:
        told: list[Event] = []
        asked: tuple[Wish, Future[Answer]] | None = None
        while story.act is not Act.DONE:
            if asked is not None and asked[1].done():
                wish, answer = asked[0], asked[1].result()
                asked = None
                seen = reader.read()  # after the answer, so that it shows the wake
                events = [story.hear(wish, answer, seen)]
                if wish is Wish.SPEAK:
                    self._save(answer)
            else:
                seen = reader.read()
                events = story.see(seen, now())
            for event in events:
                self._screen.event(seen, event)
            told += events
            if story.wish is not None and asked is None:
                asked = (story.wish, client.ask())
                story.wish = None
            self._screen.doing(seen, story.doing(seen, now()))
            time.sleep(_LOOK_EVERY_SECONDS)
        last = bill(seen.cost, story.full_rate, story.window.replicas)
        self._screen.event(seen, last)
        return [*told, last]

    def _save(self, answer: Answer) -> None:
        self._mp3.parent.mkdir(parents=True, exist_ok=True)
        self._mp3.write_bytes(answer.audio)
