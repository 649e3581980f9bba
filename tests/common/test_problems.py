import logging

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from kotatsu_common.problems import PROBLEM_RESPONSES, Problem, problem_responses

PROBLEM = "application/problem+json"


async def test_a_problem_becomes_problem_json_with_its_headers_and_extensions(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/x")
    async def x() -> None:
        raise Problem(503, "Busy", "Come back.", headers={"Retry-After": "7"}, queue=3)

    answer = await client.get("/x")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["retry-after"] == "7"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Busy",
        "status": 503,
        "detail": "Come back.",
        "queue": 3,
    }


async def test_an_http_exception_has_the_same_form(app: FastAPI, client: httpx.AsyncClient) -> None:
    @app.get("/x")
    async def x() -> None:
        raise HTTPException(409, "Somebody was faster", {"X-Who": "else"})

    answer = await client.get("/x")
    assert answer.json()["detail"] == "Somebody was faster"
    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")
    assert answer.headers["x-who"] == "else"


async def test_an_unknown_path_is_a_404_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)


async def test_a_wrong_method_is_a_405_problem_that_names_the_right_one(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/livez")
    assert (answer.status_code, answer.headers["content-type"]) == (405, PROBLEM)
    assert "GET" in answer.headers["allow"]


async def test_an_invalid_request_says_where(app: FastAPI, client: httpx.AsyncClient) -> None:
    @app.get("/x")
    async def x(n: int) -> int:
        return n

    answer = await client.get("/x", params={"n": "many"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "query.n"
    assert "many" not in answer.text


async def test_an_unexpected_error_is_logged_once_and_shows_nothing(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/x")
    async def x() -> None:
        raise RuntimeError("the password is swordfish")

    answer = await client.get("/x", headers={"Origin": "http://page.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "swordfish" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info


async def test_an_error_after_the_first_byte_cuts_the_answer_short(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async def half():  # type: ignore[no-untyped-def]
        yield b"half"
        raise RuntimeError("broken")

    @app.get("/x")
    async def x() -> StreamingResponse:
        return StreamingResponse(half())

    with pytest.raises(RuntimeError):
        await client.get("/x")


async def test_a_lone_surrogate_in_a_problem_does_not_break_the_answer(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/x")
    async def x() -> None:
        raise Problem(400, "Bad", "\ud800")

    assert (await client.get("/x")).status_code == 400


def test_documented_responses_are_problem_json() -> None:
    documented = problem_responses(401, 503)
    assert set(documented) == {401, 503}
    assert all(PROBLEM in response["content"] for response in PROBLEM_RESPONSES.values())
    assert "Retry-After" in documented[503]["headers"]
