"""Visitors of the waiting page: they keep the wake going, and not for ever."""

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.activator.cache.namespace import View
from kotatsu_operator.activator.context import Context
from kotatsu_operator.activator.http.navigation import Ask, Asked
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.wake.visitors import PATIENCE, WAITS_FOR, Visitors
from tests.operator.activator.in_process import ME, pool
from tests.operator.cluster import FakeKube, pod, service

PAGE, QUESTION = Asked(Ask.PAGE), Asked(Ask.PROGRESS)


class Wake:
    """The visitors of a sleeping pool, and a clock."""

    def __init__(self):
        self.now = 1000.0
        self.view = View()
        self.see("WarmPool", pool(page="default"))
        self.see("Service", service())
        metrics = ActivatorMetrics(CollectorRegistry())
        context = Context("voice", FakeKube(), self.view, ME, metrics)
        self.visitors = Visitors(context, lambda: self.now)

    def see(self, kind, obj):
        self.view.on_change(kind)("MODIFIED", obj)

    def ask(self, what=QUESTION, after=0.0):
        self.now += after
        return self.visitors.answer(self.view.pools["voice"], what)

    def stage(self):
        return self.ask().partition(b"Kotatsu-Waking: ")[2].partition(b"\r")[0].decode()

    def wait(self, seconds, what=QUESTION):
        """Ask every two seconds for so long; returns the last answer."""
        for _ in range(int(seconds / 2)):
            answer = self.ask(what, after=2)
        return answer


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
    assert not wake.visitors.are_waiting
    wake.ask(PAGE)
    assert wake.visitors.are_waiting
    wake.wait(60)
    assert wake.visitors.are_waiting
    wake.now += WAITS_FOR
    assert not wake.visitors.are_waiting


def test_a_forgotten_tab_of_a_pool_that_never_starts_waits_no_longer_than_its_patience(wake):
    wake.ask(PAGE)
    answer = wake.wait(PATIENCE)
    assert b"Kotatsu-Waking: over" in answer
    assert not wake.visitors.are_waiting
    assert b"Kotatsu-Waking: over" in wake.wait(60)


def test_a_tab_without_scripts_stops_too(wake):
    wake.ask(PAGE)
    assert b'http-equiv="refresh"' not in wake.wait(PATIENCE, PAGE)
    assert not wake.visitors.are_waiting


def test_who_tries_again_after_that_wakes_the_pool_again(wake):
    wake.ask(PAGE)
    wake.wait(PATIENCE, PAGE)
    assert b'http-equiv="refresh"' in wake.ask(PAGE, after=1)
    assert wake.visitors.are_waiting


def test_the_next_visitor_of_another_day_begins_anew(wake):
    wake.ask(PAGE)
    wake.wait(PATIENCE)
    assert b"Kotatsu-Waking: node" in wake.ask(after=3600)
