"""To which Host headers the console answers."""

import httpx
import pytest

from kotatsu_operator.console.app import create_console, own_names
from kotatsu_operator.console.board import Board
from tests.operator.console.pools import Clock

NAMES = own_names("demo") | {"console.example.com"}
PATHS = ("/", "/api/pools", "/console/console.js")


async def ask(path: str, *hosts: str) -> httpx.Response:
    app = create_console(Board(Clock()), Clock(), ["demo"], NAMES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        request = client.build_request("GET", f"http://127.0.0.1{path}")
        del request.headers["host"]
        request.headers = httpx.Headers([("host", host) for host in hosts])
        return await client.send(request)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "10.244.1.7:8081",
        "[fd00::7]",
        "kotatsu-console",
        "kotatsu-console.demo:80",
        "kotatsu-console.demo.svc",
        "kotatsu-console.demo.svc.cluster.local.",
        "console.example.com",
    ],
)
async def test_it_answers_to_its_own_names_and_to_addresses(path: str, host: str):
    assert (await ask(path, host)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:8080",
        "127.0.0.1.evil.example",
        "kotatsu-console.demo.svc.evil.example",
        "kotatsu-console.other",
        "evil.example:80@localhost",
        "localhost, evil.example",
        "[::1].evil.example",
        "[localhost]",
        "",
        ":8080",
    ],
)
async def test_a_name_of_another_page_gets_nothing_but_the_value_to_set(path: str, host: str):
    answer = await ask(path, host)
    assert answer.status_code == 421
    assert "chart value console.hosts" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.count("\n") == 1


async def test_the_refused_name_is_said():
    assert "not 'evil.example'" in (await ask("/", "evil.example:8080")).text


@pytest.mark.parametrize("hosts", [(), ("localhost", "evil.example")])
async def test_a_request_with_no_host_or_with_two_is_refused(hosts: tuple[str, ...]):
    answer = await ask("/", *hosts)
    assert answer.status_code == 421
    assert "a request needs one Host header" in answer.text
