"""Events about pools: what the API server takes, and nothing lost over one it does not."""

import logging
from datetime import UTC, datetime

import pytest

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.report import Reporter
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.cluster import FakeKube, served, warm_pool

AT = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


async def post(kube, note, at=AT):
    await Reporter(kube, Cache(served()), lambda: at, "operator-1").post(warm_pool(), [note])


@pytest.mark.parametrize("at", [AT, AT.replace(microsecond=5)])
async def test_an_event_is_about_its_pool_with_what_the_api_server_asks_of_one_with_a_time(at):
    kube = FakeKube()
    await post(kube, Note("WindowCold", "late", warning=True), at)
    ((_, kind, event),) = kube.called("create")
    about = event["involvedObject"]
    assert kind == "Event"
    assert (about["kind"], about["name"], about["uid"]) == ("WarmPool", "voice", "pool-voice")
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "WindowCold", "late")
    assert event["action"]
    assert event["reportingComponent"] == "kotatsu.dev/operator"
    assert event["reportingInstance"] == "operator-1"
    # The one is a MicroTime, the others are Times.
    assert "." in event["eventTime"]
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-11-25T10:00:00Z"


@pytest.mark.parametrize("error", [OSError("away"), ConflictError("twice"), NotFoundError("gone")])
async def test_an_event_that_cannot_be_posted_is_only_logged(error, caplog):
    kube = FakeKube()
    kube.on("create", error)
    await post(kube, Note("Warm", "fine"))
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
