"""Events about pools: what the API server takes, and nothing lost over one it does not."""

import logging
from datetime import UTC, datetime

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.report import Reporter
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.cluster import FakeKube, warm_pool

AT = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


async def post(kube, note, at=AT):
    await Reporter(kube, Cache(), lambda: at, "operator-1").post(warm_pool(), [note])


async def posted(note, at=AT):
    kube = FakeKube()
    await post(kube, note, at)
    ((_, kind, event),) = kube.called("create")
    assert kind == "Event"
    return event


async def test_an_event_has_what_the_api_server_asks_of_one_with_a_time():
    event = await posted(Note("Warm", "2 of 2 replicas are Ready"))
    for changing in ("eventTime", "firstTimestamp", "lastTimestamp"):
        event.pop(changing)
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "voice-", "namespace": "demo"},
        "involvedObject": {
            "apiVersion": "kotatsu.dev/v1beta1",
            "kind": "WarmPool",
            "name": "voice",
            "namespace": "demo",
            "uid": "pool-voice",
            "resourceVersion": "1",
        },
        "type": "Normal",
        "reason": "Warm",
        "message": "2 of 2 replicas are Ready",
        "count": 1,
        "action": "Warm",
        "reportingComponent": "kotatsu.dev/operator",
        "reportingInstance": "operator-1",
    }
    assert (await posted(Note("WindowCold", "late", warning=True)))["type"] == "Warning"


@pytest.mark.parametrize("at", [AT, AT.replace(microsecond=5)])
async def test_its_time_has_microseconds_and_its_dates_have_none(at):
    """The one is a MicroTime, the others are Times."""
    event = await posted(Note("Warm", "fine"), at)
    assert "." in event["eventTime"]
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-11-25T10:00:00Z"


@pytest.mark.parametrize("error", [OSError("away"), ConflictError("twice"), NotFoundError("gone")])
async def test_an_event_that_cannot_be_posted_is_only_logged(error, caplog):
    kube = FakeKube()

    def refuse(*_):
        raise error

    kube.on("create", refuse)
    await post(kube, Note("Warm", "fine"))
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
