"""A day of a pool whose receivers are told: each event once, whatever operator leads."""

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.features.notices.feature import Notifier
from tests.operator.cluster import VOICE
from tests.operator.core.values import once, t
from tests.operator.features.day import FeaturedDay

PITCH = once("pitch", "10:00", "11:00")


class Courier:
    """Takes notices, and has delivered them when the test says so."""

    is_on = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.done: set[str] = set()

    def delivered(self, _):
        return self.done

    def tell(self, _, notices):
        self.sent += [(n.id, n.reason) for n in notices if (n.id, n.reason) not in self.sent]

    def forget(self, _):
        pass


def led_by(day: FeaturedDay) -> Courier:
    """Start another operator on this day."""
    day.notifier = courier = Courier()
    day.restart()
    return courier


async def test_a_notice_is_in_the_status_before_it_is_sent_and_until_it_is_delivered():
    day = FeaturedDay.begin(t("09:00"), windows=[PITCH])
    courier = led_by(day)
    await day.until(t("10:00"))
    (notice,) = day.status["internal"]["notices"]
    assert (notice["id"], notice["reason"]) == courier.sent[0]
    assert "2 replicas are Ready" in notice["message"]
    courier.done = {notice["id"]}
    await day.until(t("10:05"))
    assert day.status["internal"].get("notices") is None


async def test_the_next_leader_sends_what_is_left_with_the_same_id_and_nothing_else():
    day = FeaturedDay.begin(t("09:00"), windows=[PITCH])
    first = led_by(day)
    await day.until(t("10:00"))
    second = led_by(day)
    await day.until(t("10:05"))
    assert second.sent == first.sent
    second.done = {notice_id for notice_id, _ in second.sent}
    await day.until(t("10:06"))
    third = led_by(day)
    await day.until(t("10:30"))
    assert third.sent == []


async def test_each_of_two_windows_in_one_lead_has_a_notice():
    windows = [once("rehearsal", "10:00", "11:00"), once("pitch", "10:00:05", "11:00")]
    day = FeaturedDay.begin(t("09:00"), windows=windows)
    courier = led_by(day)
    await day.until(t("10:10"))
    said = [n["message"].split(":")[0] for n in day.status["internal"]["notices"]]
    assert said == ["window rehearsal", "window pitch"]
    assert len({id_ for id_, _ in courier.sent}) == 2
    assert day.status["internal"]["windows"]["ready"] == 2


async def test_without_receivers_the_status_has_no_notices():
    day = await FeaturedDay.lived("09:00", "10:30", windows=[PITCH])
    assert day.status["internal"].get("notices") is None


@pytest.mark.parametrize("answer", ["hang", "refuse"])
async def test_receivers_that_fail_delay_no_window(tmp_path, answer):
    server = None
    url = "http://127.0.0.1:1/"
    clients: list[asyncio.StreamWriter] = []
    if answer == "hang":
        server = await asyncio.start_server(
            lambda _, client: clients.append(client), "127.0.0.1", 0
        )
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    file = tmp_path / "receivers.yaml"
    file.write_text(json.dumps({"receivers": [{"name": "hook", "url": url}]}))
    day = FeaturedDay.begin(t("09:00"), windows=[PITCH])
    notifier = Notifier(str(file), CollectorRegistry(), lambda: day.now)
    day.notifier = notifier
    day.restart()
    task = asyncio.create_task(notifier.run(lambda _: None))
    await day.until(t("10:30"))
    assert day.metric("kotatsu_pool_windows_total", outcome="ready") == 1
    assert [n["reason"] for n in day.status["internal"]["notices"]] == ["WindowReady"]
    assert notifier.delivered(VOICE) == ()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for client in clients:
        client.transport.abort()
    if server is not None:
        server.close()
    await asyncio.sleep(0)
