"""How many connections wait, and for how long."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest

from kotatsu_operator.activator import connections, sockets
from kotatsu_operator.activator.head import PROBE_OK
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.protocol import SET_KIND, SET_LABEL
from kotatsu_operator.kube.objects import KINDS
from kotatsu_operator.kube.retained import Retained
from tests.operator.activator.in_process import GET, Dictated, pool
from tests.operator.activator.joined import reset
from tests.operator.activator.test_wake import body
from tests.operator.cluster import DENIED, denied, eventually, pod

pytestmark = pytest.mark.timeout(60)


def headers(answer):
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])


@pytest.mark.parametrize("data", [GET, b"GET / HTTP/1.1\r\nA: "], ids=["whole", "endless"])
async def test_after_the_hold_timeout_the_answer_is_503_with_retry_after(activator, data):
    activator.see("WarmPool", pool(holdTimeout="50ms"))
    answer = await activator.ask(data)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert headers(answer)["Retry-After"] == "5"
    assert headers(answer)["Content-Length"] == str(len(body(answer)))
    problem = json.loads(body(answer))
    assert problem["status"] == 503
    assert problem["detail"] == "no pod of this pool became ready in time; the start goes on"
    assert activator.connections.held == 0
    assert activator.count("kotatsu_activator_refused_total", reason="timeout") == 1


async def test_the_retry_after_is_what_is_left_of_the_usual_start(activator):
    made = pool(holdTimeout="50ms")
    made["status"]["lastWake"] = {"duration": "40s"}
    activator.see("WarmPool", made)
    begun = datetime.now(UTC) - timedelta(seconds=10)
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(begun)}
    starting = pod("voice-1", ready=False)
    starting["status"]["conditions"] = [scheduled]
    activator.see("Pod", starting)
    assert 28 <= int(headers(await activator.ask())["Retry-After"]) <= 30


async def test_nobody_who_was_joined_to_a_pod_is_timed_out(activator):
    activator.see("WarmPool", pool("Warm"))
    await activator.new_pod(ready=True)
    reader, _ = await activator.send(b"GET /long HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"voice-1")
    activator.see("WarmPool", pool("Warm", holdTimeout="50ms"))
    await asyncio.sleep(0.1)
    assert activator.connections.busy == 1


async def test_more_than_max_held_are_turned_away_at_once(activator):
    activator.hold_at_most(2)
    activator.hold()
    activator.hold()
    await activator.held(2)
    answer = await activator.ask()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert headers(answer)["Retry-After"] == "1"
    assert activator.connections.held == 2
    assert activator.count("kotatsu_activator_refused_total", reason="full") == 1


async def test_in_a_namespace_that_is_too_large_the_held_and_the_new_get_the_reason(activator):
    waiting = activator.hold()
    await activator.held(1)
    activator.view.retained.full["demo"] = "Pod"
    activator.view.empty()
    for answer in (await waiting, await activator.ask()):
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"objects of kind Pod" in answer
    assert activator.count("kotatsu_activator_refused_total", reason="room") == 2


async def test_one_that_is_tried_again_wakes_nothing_before_it_has_been_listed(
    activator, monkeypatch
):
    monkeypatch.setattr("kotatsu_operator.kube.retained.FIRST_TRY", 0.0)
    activator.view.retained = kept = Retained(total=1000)
    kept.weigh("demo", "Pod", "large", "x" * 1000)
    kept.weigh("demo", "Pod", "large", None)
    activator.view.empty()
    await eventually(lambda: not activator.view.is_full)
    assert b"objects of kind Pod" in await activator.ask()
    activator.view.synced |= KINDS.keys()
    activator.hold()
    await activator.held(1)


async def test_a_probe_is_answered_there_as_before(activator):
    activator.view.retained.full["demo"] = "Pod"
    answer = await activator.ask(b"GET /healthz HTTP/1.1\r\nHost: voice\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_makes_room_for_another(activator):
    activator.hold_at_most(1)
    _, writer = await activator.send()
    await activator.held(1)
    writer.close()
    await activator.held(0)
    activator.hold()
    await activator.held(1)


def post(size):
    """A whole upload."""
    return b"POST /upload HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


def leaves_in_the_middle(writer, sent):
    writer.write(sent[: len(sent) // 2])
    return lambda: writer.close()


def closes(writer, sent):
    writer.write(sent)
    return lambda: writer.close()


def ends_its_half(writer, sent):
    writer.write(sent)
    return lambda: writer.write_eof()


def is_reset(writer, sent):
    writer.write(sent)
    return lambda: reset(writer)


@pytest.mark.parametrize("size", [40_000, 1_000_000, 5_000_000])
@pytest.mark.parametrize("leaves", [leaves_in_the_middle, closes, ends_its_half, is_reset])
async def test_a_post_that_its_client_gave_up_runs_never_and_counts_no_more(
    activator, leaves, size
):
    activator.hold_at_most(1)
    for _ in range(3):
        _, writer = await activator.send(b"")
        leave = leaves(writer, post(size))
        await activator.held(1)
        assert activator.count("kotatsu_activator_held") == 1
        await writer.drain()
        leave()
        await activator.held(0)
        assert activator.count("kotatsu_activator_held") == 0
    assert activator.count("kotatsu_activator_refused_total", reason="full") == 0
    made = await activator.new_pod(ready=True)
    assert (await activator.ask()).endswith(b"voice-1")
    assert [head.split()[0] for head in made.requests] == [b"GET"]


async def test_an_upload_of_megabytes_is_held_and_delivered_whole(activator):
    sent = post(5_000_000)
    _, _writer = await activator.send(sent)
    await activator.held(1)
    made = await activator.new_pod(of=Dictated, ready=True)
    reader, _ = await made.reached.get()
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"POST /upload ")
    assert await reader.readexactly(5_000_000) == sent[-5_000_000:]


# --- while its pod is dialed ---


class Dial:
    """Connects to pods that succeed, or do not, when the test says so."""

    def __init__(self, backends):
        self.begun, self._answers, self._dial = asyncio.Event(), asyncio.Queue(), backends.dial

    async def __call__(self, *how):
        self.begun.set()
        return await self._answers.get() and await self._dial(*how)

    def ends(self, *, well):
        self._answers.put_nowait(well)


@pytest.fixture
async def dial(activator, monkeypatch):
    backends = activator.connections.backends
    monkeypatch.setattr(backends, "dial", made := Dial(backends))
    return made


async def dialed(activator, dial, sent):
    """A client whose pod is dialed: its writer, and the activator's side."""
    _, writer = await activator.send(sent)
    await dial.begun.wait()
    return writer, activator.clients[-1]


def is_read(client):
    return client.transport is None or client.transport.is_reading()


async def test_of_an_upload_one_read_is_kept_while_its_pod_is_dialed(activator, dial):
    made = await activator.new_pod(of=Dictated, ready=True)
    sent = post(8_000_000)
    writer, client = await dialed(activator, dial, sent[:100])
    writer.write(sent[100:])
    await eventually(lambda: not is_read(client))
    assert activator.connections.limit.kept.total < 2**20
    dial.ends(well=True)
    reader, _ = await made.reached.get()
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(8_000_000) == sent[-8_000_000:]


@pytest.mark.parametrize("well", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("unread", [0, 10_000])
async def test_a_client_that_leaves_while_its_pod_is_dialed_is_not_delivered(
    activator, dial, monkeypatch, unread, well
):
    """What is not read hides its end from the event loop; the kernel knows it."""
    monkeypatch.setattr(connections, "RECONNECT_EVERY", 0.0)
    made = await activator.new_pod(ready=True)
    sent = post(unread + 1)
    writer, client = await dialed(activator, dial, sent[: len(sent) - unread - 1])
    writer.write(sent[-1:])
    await eventually(lambda: not is_read(client))
    writer.write(sent[len(sent) - unread :])
    await writer.drain()
    writer.close()
    await eventually(lambda: sockets.has_finished(client.transport))
    for _ in range(20):
        dial.ends(well=well)
    await activator.held(0)
    for _ in range(20):
        dial.ends(well=True)
    assert (await activator.ask()).endswith(b"voice-1")
    assert [head.split()[0] for head in made.requests] == [b"GET"]


async def test_so_is_one_whose_end_the_event_loop_has_not_come_to(activator, monkeypatch):
    leaving = socket.create_connection(("127.0.0.1", activator.port))
    leaving.sendall(GET)
    await activator.held(1)
    backends = activator.connections.backends
    reached = backends.dial

    async def dial_and_lose(*how):
        try:
            return await reached(*how)
        finally:
            leaving.close()

    monkeypatch.setattr(backends, "dial", dial_and_lose)
    made = await activator.new_pod(ready=True)
    await activator.held(0)
    monkeypatch.undo()
    assert (await activator.ask()).endswith(b"voice-1")
    assert len(made.requests) == 1


async def test_a_client_that_is_refused_while_its_pod_is_dialed_is_read_again(activator, dial):
    """It still sends: closed under it, it would not read its answer."""
    await activator.new_pod(ready=True)
    sent = post(4_000_000)
    reader, writer = await activator.send(sent[:100])
    await dial.begun.wait()
    writer.write(sent[100:])
    await eventually(lambda: not is_read(activator.clients[-1]))
    activator.see("WarmPool", pool("Asleep", holdTimeout="1ms"))
    await activator.held(0)
    dial.ends(well=False)
    await writer.drain()
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")


def spent_pool(phase="Asleep", **override):
    """A pool whose budget was spent this day."""
    end = datetime.now(UTC) + timedelta(hours=9)
    inner = {"period": "Day", "exhaustedAt": "2026-11-25T08:00:00Z", "periodEnd": end.isoformat()}
    made = pool(phase)
    made["spec"] |= {"budget": {"limit": "50"}, **override}
    made["status"] |= {"cost": {"currency": "JPY", "limit": "50"}, "internal": {"cost": inner}}
    return made


async def test_who_comes_to_a_pool_without_money_is_told_when_to_come_again(activator):
    activator.see("WarmPool", spent_pool())
    head, _, body = (await activator.ask()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 3600" in head
    assert "the budget of the WarmPool voice is spent (50 JPY a day)" in json.loads(body)["detail"]
    assert activator.count("kotatsu_activator_refused_total", reason="budget") == 1
    assert activator.kube.writes == []
    assert activator.connections.held == 0


async def test_a_pool_of_a_set_without_money_names_the_set_whose_limit_it_is(activator):
    made = spent_pool()
    made["metadata"] |= {
        "labels": {SET_LABEL: "previews"},
        "ownerReferences": [{"kind": SET_KIND, "name": "previews"}],
    }
    activator.see("WarmPool", made)
    detail = json.loads((await activator.ask()).partition(b"\r\n\r\n")[2])["detail"]
    assert detail == (
        "the budget that the WarmPoolSet previews sets for the WarmPool voice is spent (50 JPY a "
        "day): it sleeps until the period ends or the limit in the set is raised"
    )


async def test_a_probe_is_answered_without_money_too(activator):
    activator.see("WarmPool", spent_pool())
    assert await activator.ask(b"GET /readyz HTTP/1.1\r\n\r\n") == PROBE_OK


async def test_a_pool_without_money_is_not_woken_for_another(activator):
    activator.see("WarmPool", spent_pool())
    assert not activator.connections.need()
    await asyncio.sleep(0.05)
    assert activator.kube.writes == []


async def test_a_pod_that_answers_serves_whatever_is_spent(activator):
    await activator.new_pod(ready=True)
    activator.see("WarmPool", spent_pool())
    assert (await activator.ask()).startswith(b"HTTP/1.1 200 ")


async def test_the_held_are_told_as_soon_as_a_pool_without_money_sleeps(activator):
    activator.see("WarmPool", spent_pool(phase="Draining"))
    waiting = [activator.hold(), activator.hold()]
    await activator.held(2)
    activator.see("WarmPool", spent_pool(phase="Sleeping"))
    answers = await asyncio.gather(*waiting)
    assert all(b"the budget of the WarmPool voice is spent" in answer for answer in answers)
    assert (activator.connections.held, activator.raises) == (0, 0)
    assert activator.count("kotatsu_activator_refused_total", reason="budget") == 2


@pytest.mark.parametrize("phase", ["Warming", "Warm", "Draining"])
async def test_the_budget_is_asked_at_the_raise_whatever_phase_the_watch_has_shown(
    activator, phase
):
    """The watch of the target may be ahead of the pool's."""
    activator.see("WarmPool", spent_pool(phase=phase))
    activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
    activator.hold()
    await activator.held(1)
    await asyncio.sleep(0.1)
    assert activator.raises == 0


async def test_the_budget_is_asked_again_after_the_scale_has_been_read(activator):
    activator.kube.on("get_scale", lambda *_: activator.see("WarmPool", spent_pool()))
    assert b"is spent" in await activator.ask()
    await eventually(lambda: activator.kube.called("get_scale"))
    await asyncio.sleep(0.05)
    assert activator.raises == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (denied(), f"the API server rejects it: {DENIED}"),
        (OSError("away"), "the API server does not answer: away"),
    ],
)
async def test_a_raise_that_is_refused_is_told_with_the_sentence_of_the_api_server(
    activator, caplog, error, said
):
    activator.kube.on("raise_scale", error)
    activator.hold()
    await eventually(lambda: f"voice: cannot wake yet, {said}" in caplog.messages)


async def test_a_pool_that_is_unknown_is_refused(activator):
    activator.view.pools.clear()
    answer = await activator.ask()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"deleted" in answer
