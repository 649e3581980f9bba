"""The waiting page through an activator: a browser is answered at once, everybody else is held."""

import pytest

from kotatsu_operator.activator.registry import State
from tests.operator.activator.in_process import GET, pool
from tests.operator.cluster import eventually, pod

pytestmark = pytest.mark.timeout(60)

BROWSER = (
    b"GET / HTTP/1.1\r\nHost: voice\r\nAccept: text/html\r\nAccept-Language: ja\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n\r\n"
)
QUESTION = b"HEAD / HTTP/1.1\r\nHost: voice\r\nKotatsu-Waking: ask\r\n\r\n"


async def test_a_navigation_gets_the_page_at_once_and_wakes_the_pool(activator):
    activator.see("WarmPool", pool(waitingPage=True))
    answer = await activator.ask(BROWSER)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert "アプリを起動しています".encode() in answer
    await eventually(lambda: activator.kube.called("raise_scale"))
    assert activator.connections.held == 0
    assert activator.connections.waiting == 1


async def test_the_page_goes_on_to_the_app_once_a_pod_answers(activator):
    activator.see("WarmPool", pool(waitingPage=True))
    await activator.ask(BROWSER)
    assert b"Kotatsu-Waking: node" in await activator.ask(QUESTION)
    await activator.new_pod(ready=True)
    assert b"Kotatsu-Waking" not in await activator.ask(QUESTION)
    assert (await activator.ask(BROWSER)).endswith(b"voice-1")
    assert activator.connections.waiting == 0


@pytest.mark.parametrize(("page", "sent"), [(True, GET), (False, BROWSER)])
async def test_an_api_client_is_held_and_so_is_a_browser_of_a_pool_without_a_page(
    activator, page, sent
):
    activator.see("WarmPool", pool(waitingPage=page))
    held = activator.hold(sent)
    await eventually(lambda: activator.connections.held == 1)
    await activator.new_pod(ready=True)
    assert (await held).endswith(b"voice-1")


async def test_the_head_of_a_navigation_may_come_in_pieces(activator):
    activator.see("WarmPool", pool(waitingPage=True))
    reader, writer = await activator.send(BROWSER[:20])
    await eventually(lambda: activator.connections.held == 1)
    writer.write(BROWSER[20:])
    assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
    assert activator.connections._clients.count(State.ANNOUNCING) == 0


async def test_a_probe_is_answered_as_before(activator):
    activator.see("WarmPool", pool(waitingPage=True))
    probe = BROWSER.replace(b"GET / ", b"GET /healthz ")
    assert (await activator.ask(probe)).startswith(b"HTTP/1.1 200 ")
    assert activator.connections.waiting == 0


async def test_the_page_tells_how_long_the_last_wake_took(activator):
    made = pool(waitingPage=True)
    made["status"]["lastWake"] = {"at": "2026-11-25T10:00:00Z", "duration": "11.700s"}
    activator.see("WarmPool", made)
    assert "いつもは12秒ほど".encode() in await activator.ask(BROWSER)


async def test_a_request_while_the_pool_falls_asleep_is_announced_by_the_page_too(activator):
    activator.see("WarmPool", pool("Sleeping", waitingPage=True))
    activator.see("Pod", pod(terminating=True))
    await activator.ask(BROWSER)
    await eventually(lambda: activator.kube.called("patch_status"))
