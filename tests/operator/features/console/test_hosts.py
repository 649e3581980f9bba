"""To which Host headers the console answers."""

from itertools import product

import httpx
import pytest
from fastapi import FastAPI

from kotatsu_operator.features.console.app import create_console
from kotatsu_operator.features.console.board import Board
from tests.operator.features.console.pools import Clock

NAMES = {"kotatsu-console.demo.svc", "Console.example.com"}
PATHS = ("/", "/api/pools", "/console/console.js")


OURS = [
    "localhost", "localhost:8080", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080",
    "10.244.1.7:8081", "[fd00::7]", "kotatsu-console.demo.svc:80", "kotatsu-console.demo.svc.",
    "console.example.com",
]  # fmt: skip
OTHERS = [
    "evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example",
    "kotatsu-console.demo.svc.evil.example", "kotatsu-console.other", "evil.example:80@localhost",
    "localhost, evil.example", "[::1].evil.example", "[localhost]", "", ":8080",
]  # fmt: skip


@pytest.fixture(scope="module")
def console() -> FastAPI:
    return create_console(Board(Clock()), Clock(), NAMES)


async def ask(console: FastAPI, path: str, *hosts: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(console)) as client:
        request = client.build_request("GET", f"http://127.0.0.1{path}")
        del request.headers["host"]
        request.headers = httpx.Headers([("host", host) for host in hosts])
        return await client.send(request)


async def test_it_answers_to_its_own_names_and_to_addresses(console):
    answers = {at: await ask(console, *at) for at in product(PATHS, OURS)}
    assert {at for at, answer in answers.items() if answer.status_code != 200} == set()


async def test_a_name_of_another_page_gets_nothing_but_the_value_to_set(console):
    for at in product(PATHS, OTHERS):
        answer = await ask(console, *at)
        assert answer.status_code == 421, at
        assert "chart value console.hosts" in answer.text, at
        assert answer.headers["content-type"].startswith("text/plain"), at
        assert answer.text.count("\n") == 1, at


async def test_the_refused_name_is_said(console):
    assert "not 'evil.example'" in (await ask(console, "/", "evil.example:8080")).text


@pytest.mark.parametrize("hosts", [(), ("localhost", "evil.example")])
async def test_a_request_with_no_host_or_with_two_is_refused(console, hosts):
    answer = await ask(console, "/", *hosts)
    assert answer.status_code == 421
    assert "a request needs one Host header" in answer.text
