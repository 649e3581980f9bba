"""Visitors of the waiting page: they keep the wake going, and not for ever."""

import re
from random import Random

import pytest
from prometheus_client import CollectorRegistry
from rows import each

from kotatsu_operator.activator.feature import Context
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.namespace import View
from kotatsu_operator.features.waiting_page.navigation import Asked, AskedFor
from kotatsu_operator.features.waiting_page.page import PATIENCE, WAITS_FOR, Visitors
from tests.operator.activator.in_process import ME, pool
from tests.operator.cluster import FakeKube, pod, service


class Wake:
    """Visitors of a sleeping pool with some activators, one browser, and a clock."""

    def __init__(self, activators=1):
        self.now = 1_790_000_000.0
        self.views = [View() for _ in range(activators)]
        self.see("WarmPool", pool(waitingPage=True))
        self.see("Service", service())
        self.each = [self.activator(view) for view in self.views]
        self.chance = Random(1)
        self.cookie = None

    def activator(self, view):
        metrics = ActivatorMetrics(CollectorRegistry())
        context = Context("voice", FakeKube(), view, ME, metrics)
        return Visitors(context, lambda: self.now % 1e6, lambda: self.now)

    def see(self, kind, obj):
        for view in self.views:
            view.on_change(kind)("MODIFIED", obj)

    @property
    def are_waiting(self):
        return any(visitors.are_waiting for visitors in self.each)

    def ask(self, what=AskedFor.PROGRESS, after=0.0):
        """Ask any of the activators, as a browser does."""
        self.now += after
        visitors = self.chance.choice(self.each)
        answer = visitors.reply(self.views[0].pools["voice"], Asked(what, since=self.cookie))
        self.cookie = int(re.search(rb"Set-Cookie: kotatsu-waking=([0-9]+);", answer)[1])
        return answer

    def stage(self):
        return self.ask().partition(b"Kotatsu-Waking: ")[2].partition(b"\r")[0].decode()

    def wait(self, seconds, what=AskedFor.PROGRESS):
        """Ask every two seconds for so long; returns the last answer."""
        for _ in range(int(seconds / 2)):
            answer = self.ask(what, after=2)
        return answer

    def gives_up(self, what=AskedFor.PROGRESS, every=2.0):
        """Minutes until a tab that is left alone stops; infinite if it asks for two hours."""
        began = self.now
        while self.now - began < 2 * 3600:
            answer = self.ask(what, after=every)
            if b"Kotatsu-Waking: over" in answer or b'data-state="over" data-stage' in answer:
                return (self.now - began) / 60
        return float("inf")

    @property
    def is_left_alone(self):
        """Whether no page waits, once the last answer to one is no news any more."""
        self.now += WAITS_FOR
        return not self.are_waiting


@pytest.fixture
def wake():
    return Wake()


def pending(*conditions):
    made = pod(phase="Pending", ip="")
    made["status"]["conditions"] = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-11-25T10:00:00Z"}
        for kind in conditions
    ]
    return made


def test_the_page_follows_the_pod_that_is_furthest(wake):
    assert wake.stage() == "node"
    wake.see("Pod", pending())
    assert wake.stage() == "node"
    wake.see("Pod", pending("PodScheduled"))
    assert wake.stage() == "image"
    running = pod()
    started = {"running": {"startedAt": "2026-11-25T10:00:12Z"}}
    running["status"]["containerStatuses"] = [{"state": started}]
    wake.see("Pod", running)
    assert wake.stage() == "start"


def test_a_page_waits_as_long_as_it_asks(wake):
    assert not wake.are_waiting
    wake.ask(AskedFor.PAGE)
    assert wake.are_waiting
    wake.wait(60)
    assert wake.are_waiting
    wake.now += WAITS_FOR
    assert not wake.are_waiting


@each("activators", [1, 2, 3])
def test_a_forgotten_tab_stops_however_many_activators_there_are(activators):
    wake = Wake(activators)
    for seed in range(20):
        wake.chance, wake.cookie = Random(seed), None
        wake.ask(AskedFor.PAGE)
        assert 15 <= wake.gives_up() < 15.1
        assert 15 <= wake.gives_up(AskedFor.PAGE, every=5) < 15.2
        assert wake.is_left_alone


def test_a_page_that_has_stopped_goes_on_only_if_somebody_tries_again(wake):
    wake.ask(AskedFor.PAGE)
    assert b'http-equiv="refresh"' not in wake.wait(PATIENCE, AskedFor.PAGE)
    assert b"Kotatsu-Waking: over" in wake.wait(60), "another tab of this browser"
    assert wake.is_left_alone
    assert b'http-equiv="refresh"' in wake.ask(AskedFor.PAGE, after=1)
    assert wake.are_waiting
    wake.wait(PATIENCE)
    wake.cookie = None  # another browser
    assert b"Kotatsu-Waking: node" in wake.ask(after=3600)
    assert wake.are_waiting


def test_a_clock_that_is_behind_is_no_reason_to_stop(wake):
    wake.cookie = int(wake.now) + 60
    assert b'data-waited="0"' in wake.ask(AskedFor.PAGE)
    assert wake.are_waiting
