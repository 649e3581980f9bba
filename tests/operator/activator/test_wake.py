"""Waking a pool for the connections that wait: one wake for all, each request written once."""

import asyncio
import time

import pytest

from kotatsu_node.ports import free_ports
from kotatsu_operator.activator import pods, wake
from kotatsu_operator.activator.head import PROBE_OK
from kotatsu_operator.core.protocol import LAST_WAKE, LAST_WAKE_TOOK
from kotatsu_operator.kube.errors import ConflictError, NotFoundError
from tests.operator.activator.in_process import READYZ, Pod, pool
from tests.operator.cluster import eventually, pod, service

pytestmark = pytest.mark.timeout(60)


def body(answer):
    return answer.partition(b"\r\n\r\n")[2]


# --- what wakes, and what does not ---


async def test_fifty_requests_at_once_are_answered_by_one_write(activator, monkeypatch):
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 60.0)
    made = await activator.starts_on_raise()
    answers = await asyncio.gather(*(activator.ask() for _ in range(50)))
    assert {body(a) for a in answers} == {b"voice-1"}
    assert len(made.requests) == 50
    assert activator.kube.writes == ["raise_scale"]
    assert activator.kube.stored("Deployment", "voice")["spec"]["replicas"] == 1


@pytest.mark.parametrize("said", [b"", b"GET /hel"])
async def test_a_connection_without_a_whole_request_line_wakes_nobody(activator, said):
    _, writer = await activator.send(said)
    await eventually(lambda: activator.clients and len(activator.clients[0]._buffer) == len(said))
    assert activator.connections.held == 0
    writer.close()
    await eventually(lambda: activator.clients[0].transport is None)
    assert activator.kube.calls == []


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/healthz?full=1"])
async def test_a_probe_is_answered_and_wakes_nobody(activator, path):
    assert await activator.ask(f"GET {path} HTTP/1.1\r\n\r\n".encode()) == PROBE_OK
    assert activator.kube.calls == []


async def test_which_paths_are_probes_is_the_pools_to_say(activator):
    activator.see("WarmPool", pool(healthCheckPaths=["/ping"]))
    await activator.starts_on_raise()
    assert await activator.ask(b"GET /ping HTTP/1.1\r\n\r\n") == PROBE_OK
    assert activator.raises == 0
    assert body(await activator.ask(b"GET /healthz HTTP/1.1\r\n\r\n")) == b"voice-1"
    assert activator.raises == 1


async def test_a_request_line_wakes_and_the_whole_head_is_passed_on(activator):
    made = await activator.starts_on_raise(ready=True)
    reader, writer = await activator.send(b"GET /hello HTTP/1.1\r\n")
    await eventually(lambda: activator.raises)
    await asyncio.sleep(0.05)
    assert made.requests == []
    writer.write(b"Host: voice\r\n\r\n")
    assert body(await reader.read()) == b"voice-1"
    assert made.requests == [b"GET /hello HTTP/1.1\r\nConnection: close\r\nHost: voice\r\n\r\n"]


# --- raising ---


@pytest.mark.parametrize("verb", ["get_scale", "patch_status"])
async def test_who_waits_is_answered_also_after_an_error_that_nobody_has_foreseen(
    activator, monkeypatch, verb
):
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 0.0)
    if verb == "patch_status":
        activator.see("WarmPool", pool("Draining"))
    activator.kube.on(verb, KeyError("nobody has thought of this"), times=1)
    await activator.starts_on_raise(ready=True)
    assert body(await activator.ask()) == b"voice-1"
    assert activator.kube.called(verb)


@pytest.mark.parametrize("seen", [0, None])
async def test_a_scale_above_zero_is_never_touched(activator, monkeypatch, seen):
    """Also where the watch shows an older one."""
    monkeypatch.setattr(wake, "READ_AFTER", 0.02)
    if seen is not None:
        activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
    activator.kube.edit("Deployment", "voice", spec={"replicas": 5})
    activator.hold()
    await eventually(lambda: len(activator.kube.called("get_scale")) > 1)
    assert seen is not None or activator.raises == 0
    assert activator.kube.stored("Deployment", "voice")["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("edit", "verbs"),
    [({}, ["raise_scale"]), ({"a": "b"}, ["raise_scale", "get_scale", "raise_scale"])],
    ids=["at this version", "at an older one"],
)
async def test_a_scale_that_the_watch_has_shown_at_zero_is_read_only_if_it_has_changed(
    activator, edit, verbs
):
    activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
    if edit:
        activator.kube.edit("Deployment", "voice", metadata={"annotations": edit})
    await activator.starts_on_raise(ready=True)
    assert body(await activator.ask()) == b"voice-1"
    assert [c[0] for c in activator.kube.called("get_scale", "raise_scale")] == verbs


async def test_a_scale_above_zero_is_read_at_the_beginning_and_then_with_each_list(
    activator, monkeypatch
):
    """A pod may take minutes to start: each look would be a call."""
    monkeypatch.setattr(wake, "READ_AFTER", 0.2)
    activator.kube.edit("Deployment", "voice", spec={"replicas": 1})
    activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
    activator.hold()
    await eventually(lambda: len(activator.kube.called("find")) == 4)
    assert 1 < len(activator.kube.called("get_scale")) <= 5


async def test_a_scale_that_it_has_raised_is_not_raised_again_before_the_watch_shows_it(
    activator,
):
    activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
    activator.hold()
    await eventually(lambda: activator.raises == 1)
    await asyncio.sleep(0.1)
    assert (activator.raises, len(activator.kube.called("get_scale"))) == (1, 0)


async def test_a_scale_that_was_read_and_then_changed_is_read_again_at_the_next_look(activator):
    """The watch is silent: it still shows the pod of before."""
    asleep = activator.kube.stored("Deployment", "voice")
    activator.see("Deployment", {**asleep, "spec": {**asleep["spec"], "replicas": 1}})
    activator.kube.on("raise_scale", ConflictError("modified"), times=1)
    activator.hold()
    stored = activator.kube.stored
    await eventually(lambda: stored("Deployment", "voice")["spec"]["replicas"] == 1)
    assert activator.raises == 2


async def test_a_scale_that_is_set_to_zero_while_a_request_waits_is_raised_again(activator):
    for replicas in (0, 1, 0):
        activator.kube.edit("Deployment", "voice", spec={"replicas": replicas})
        activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
        activator.hold()
        await asyncio.sleep(0.1)
    assert activator.raises == 2


async def test_when_somebody_else_was_faster_it_does_not_raise(activator, monkeypatch):
    monkeypatch.setattr(wake, "READ_AFTER", 0.02)

    def open_window(_):
        activator.kube.edit("Deployment", "voice", spec={"replicas": 4})
        raise ConflictError("modified")

    activator.kube.on("raise_scale", open_window, times=1)
    activator.hold()
    await eventually(lambda: len(activator.kube.called("get_scale")) > 2)
    assert activator.raises == 1
    assert activator.kube.stored("Deployment", "voice")["spec"]["replicas"] == 4


@pytest.mark.parametrize("error", [OSError("away"), NotFoundError("no target")])
async def test_while_the_scale_cannot_be_read_requests_wait_and_then_wake(activator, error):
    made = await activator.starts_on_raise()
    activator.kube.on("get_scale", error, times=3)
    assert body(await activator.ask()) == b"voice-1"
    assert (len(activator.kube.called("get_scale")), len(made.requests)) == (4, 1)
    assert activator.kube.stored("Deployment", "voice")["spec"]["replicas"] == 1


async def test_a_pod_that_the_watch_does_not_tell_of_is_found_by_listing(activator, monkeypatch):
    """A stream can go silent without closing; whoever waits must not wait for it."""
    monkeypatch.setattr(wake, "READ_AFTER", 0.05)
    gone = await activator.new_pod("voice-0", ready=True)
    gone.server.close()
    made = await activator.new_pod("voice-1")
    activator.kube.put(pod(made.name, port=made.port, readinessProbe=READYZ))
    activator.kube.put(pod("other", app="other", ready=True))
    activator.kube.on("find", OSError("no route to host"), times=1)
    assert body(await activator.ask()) == b"voice-1"


async def test_it_lists_once_at_a_time_and_no_longer_than_it_waits(activator, monkeypatch):
    """The lists of an activator have one turn after the other: hundreds of pools wait for it."""
    began = ended = 0

    async def find(*_):
        nonlocal began, ended
        began += 1
        try:
            await asyncio.sleep(60)
        finally:
            ended += 1

    monkeypatch.setattr(wake, "READ_AFTER", 0.01)
    monkeypatch.setattr(activator.kube, "find", find)
    waiting = activator.hold()
    await eventually(lambda: began == 1)
    await asyncio.sleep(0.1)
    assert (began, ended) == (1, 0)
    activator.see_pod(await activator.new_pod())
    assert body(await waiting) == b"voice-1"
    await eventually(lambda: ended == 1)


# --- which pod, and when ---


async def test_it_asks_the_readiness_probe_itself_and_does_not_wait_for_the_kubelet(activator):
    made = await activator.new_pod()
    made.ready = False
    activator.see_pod(made, ready=False)
    waiting = activator.hold()
    await eventually(lambda: made.probes > 3)
    assert made.requests == []
    made.ready = True
    assert body(await waiting) == b"voice-1"


async def test_of_many_pods_that_are_not_ready_few_are_probed_at_a_time_and_all_in_turn(
    activator, monkeypatch
):
    """A Deployment may lose the readiness of a thousand pods; their files are this process's."""
    probed, at_once, most = set(), 0, 0

    async def probe_of(backends, view):
        nonlocal at_once, most
        probed.add(view.key[1])
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return False

    monkeypatch.setattr(pods.Backends, "probe", probe_of)
    for number in range(200):
        activator.see("Pod", pod(f"voice-{number}", readinessProbe=READYZ))
    waiting = activator.hold()
    await eventually(lambda: len(probed) == 200)
    assert most == wake.PROBED_AT_ONCE
    waiting.cancel()


async def test_a_pod_that_hangs_keeps_nobody_from_one_that_answers(activator, monkeypatch):
    monkeypatch.setattr(pods, "TIMEOUT", 30)
    hanging = await activator.new_pod("voice-1")
    hanging.silent = True
    activator.see_pod(hanging)
    await activator.new_pod("voice-2", ready=False)
    async with asyncio.timeout(5):
        assert body(await activator.ask()) == b"voice-2"


async def test_a_pod_that_begins_to_terminate_while_it_is_probed_gets_nothing(activator):
    made = await activator.new_pod()
    hanging = made._serve
    made.asked.clear()

    async def answer_late(reader, writer):
        activator.see_pod(made, terminating=True)
        await hanging(reader, writer)

    made._serve = answer_late
    made.server.close()
    await made.start()
    activator.see_pod(made)
    activator.hold()
    await made.asked.wait()
    await asyncio.sleep(0.05)
    assert made.requests == []
    assert activator.connections.held == 1


async def test_a_pod_that_terminates_is_no_longer_chosen(activator):
    first = await activator.new_pod("voice-1", ready=True)
    second = await activator.new_pod("voice-2")
    assert body(await activator.ask()) == b"voice-1"
    activator.see_pod(first, ready=True, terminating=True)
    activator.see_pod(second, ready=True)
    answers = await asyncio.gather(*(activator.ask() for _ in range(5)))
    assert {body(a) for a in answers} == {b"voice-2"}


@pytest.mark.parametrize("has_crashed", [False, True])
async def test_a_pod_that_the_kubelet_calls_not_ready_any_more_is_probed_again(
    activator, has_crashed
):
    made = await activator.new_pod(ready=True)
    await activator.ask()
    made.ready = False
    if has_crashed:
        made.server.close()
    activator.see_pod(made, ready=False)
    waiting = activator.hold()
    if has_crashed:
        await asyncio.sleep(0.03)
        await made.start(made.port)
    await eventually(lambda: made.probes > 2)
    assert len(made.requests) == 1
    made.ready = True
    assert body(await waiting) == b"voice-1"


# --- refused connections ---


async def test_a_refused_connection_is_tried_again_and_the_request_written_once(activator):
    made, [port] = Pod("voice-1"), free_ports(1)
    activator.pods.append(made)
    activator.see_pod(made, port=port, ready=True)
    waiting = activator.hold(b"POST / HTTP/1.1\r\n\r\n")
    await activator.held(1)
    await asyncio.sleep(0.06)
    await made.start(port)
    assert body(await waiting) == b"voice-1"
    assert made.requests == [b"POST / HTTP/1.1\r\nConnection: close\r\n\r\n"]


async def test_of_two_ready_pods_the_one_that_refuses_is_tried_last(activator):
    """A dead node's pods are called Ready for most of a minute."""
    [nobody] = free_ports(1)
    activator.see_pod(Pod("voice-1"), port=nobody, ready=True)
    await activator.new_pod("voice-2", ready=True)
    answers = await asyncio.gather(*(activator.ask() for _ in range(10)))
    assert {body(a) for a in answers} == {b"voice-2"}


async def test_a_pod_without_the_services_port_is_said_once(activator, caplog):
    activator.see("Service", service("voice", {"name": "http", "port": 80, "targetPort": "grpc"}))
    await activator.new_pod(ready=True)
    waiting = [activator.hold() for _ in range(3)]
    await activator.held(3)
    await eventually(lambda: "no port" in caplog.text)
    await asyncio.sleep(0.1)  # it is tried again meanwhile
    activator.see("WarmPool", pool(holdTimeout="1ms"))
    answers = await asyncio.gather(*waiting)
    assert all(a.startswith(b"HTTP/1.1 503 ") for a in answers)
    assert [r.message for r in caplog.records if "no port" in r.message] == [
        "voice: pod voice-1 has no port grpc"
    ]


# --- leaving ---


async def test_when_the_last_client_has_gone_nothing_more_is_asked_or_raised(activator):
    activator.kube.edit("Deployment", "voice", spec={"replicas": 1})
    _, writer = await activator.send()
    await eventually(lambda: activator.kube.called("get_scale"))
    writer.close()
    await activator.held(0)
    await eventually(lambda: activator.connections._waker.task.done())
    calls = len(activator.kube.calls)
    await asyncio.sleep(0.05)
    assert len(activator.kube.calls) == calls
    assert activator.count("kotatsu_activator_held") == 0


async def test_a_client_that_left_is_not_written_to_a_pod(activator):
    made = await activator.new_pod()
    _, writer = await activator.send()
    await activator.held(1)
    writer.close()
    await activator.held(0)
    activator.see_pod(made, ready=True)
    await asyncio.sleep(0.03)
    assert made.requests == []


async def test_a_wake_is_told_to_the_operator_with_its_duration(activator):
    made = await activator.starts_on_raise()
    made.ready = False
    waiting = [activator.hold(), activator.hold()]
    await eventually(lambda: made.probes)
    made.ready = True
    await asyncio.gather(*waiting)
    assert 0 < activator.count(LAST_WAKE_TOOK) < 10
    assert abs(activator.count(LAST_WAKE) + activator.count(LAST_WAKE_TOOK) - time.time()) < 10
    assert activator.count("kotatsu_activator_wakes_total") == 1
    assert activator.count("kotatsu_activator_wake_duration_seconds_count") == 1
    assert activator.count("kotatsu_activator_wait_seconds_count") == 2


async def test_a_wake_does_not_begin_while_a_pod_answers(activator):
    """A client sends its request slowly, and meanwhile the pod goes."""
    first = await activator.new_pod("voice-0", ready=True)
    activator.hold(b"GET / HTTP/1.1\r\n")
    await activator.held(1)
    await asyncio.sleep(0.5)
    await activator.starts_on_raise(ready=True)
    activator.see("Pod", pod(first.name), "DELETED")
    await eventually(lambda: activator.count("kotatsu_activator_wake_duration_seconds_count") == 1)
    assert 0 <= activator.count(LAST_WAKE_TOOK) < 0.5


async def test_a_wake_is_told_when_everybody_is_gone_before_it_is_looked_at(activator):
    """The watch tells of the Ready pod, and who waited is connected at once."""
    await activator.starts_on_raise(ready=True)
    assert body(await activator.ask()) == b"voice-1"
    await eventually(lambda: activator.count("kotatsu_activator_wake_duration_seconds_count") == 1)
    assert activator.count(LAST_WAKE) > 0


async def test_a_wake_that_gets_no_pod_is_counted_all_the_same(activator):
    """And told from its raise on: the operator asks who has woken the pool."""
    activator.hold()
    await eventually(lambda: activator.count("kotatsu_activator_wakes_total") == 1)
    assert time.time() - activator.count(LAST_WAKE) < 10
    assert activator.count("kotatsu_activator_wake_duration_seconds_count") == 0


async def test_closing_ends_all_tasks(activator):
    activator.kube.down = True
    activator.hold()
    await activator.held(1)
    await activator.connections.close()
    calls = len(activator.kube.calls)
    await asyncio.sleep(0.05)
    assert len(activator.kube.calls) == calls
