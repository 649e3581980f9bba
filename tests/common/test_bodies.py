"""JSON bodies that are read in their turn."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from kotatsu_common.bodies import documented_body, json_body
from kotatsu_common.problems import Problem


class Bird(BaseModel):
    name: str


@pytest.fixture
def birds(app: FastAPI) -> FastAPI:
    async def stranger() -> None:
        raise Problem(401, "Not signed in")

    @app.post("/bird", openapi_extra=documented_body(Bird))
    async def bird(bird: Annotated[Bird, Depends(json_body(Bird))]) -> str:
        return bird.name

    @app.post("/maybe", openapi_extra=documented_body(Bird, required=False))
    async def maybe(bird: Annotated[Bird | None, Depends(json_body(Bird | None))]) -> str:
        return bird.name if bird else "nobody"

    @app.post("/mine", dependencies=[Depends(stranger)])
    async def mine(bird: Annotated[Bird, Depends(json_body(Bird))]) -> str:
        return bird.name

    return app


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", ""])
async def test_json_is_json_whatever_the_client_calls_it(
    birds: FastAPI, client: httpx.AsyncClient, kind: str
) -> None:
    answer = await client.post("/bird", content=b'{"name": "x"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()) == (200, "x")


async def test_no_body_is_null(birds: FastAPI, client: httpx.AsyncClient) -> None:
    assert (await client.post("/maybe")).json() == "nobody"
    assert (await client.post("/maybe", content=b"null")).json() == "nobody"
    assert (await client.post("/bird")).status_code == 422


@pytest.mark.parametrize(
    ("body", "where"),
    [(b"{", "body"), (b"\xff", "body"), (b"[" * 900, "body"), (b'{"name": 1}', "body.name")],
    ids=range(4),
)
async def test_what_is_wrong_is_said_with_its_place(
    birds: FastAPI, client: httpx.AsyncClient, body: bytes, where: str
) -> None:
    answer = await client.post("/bird", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["where"] for error in answer.json()["errors"]] == [where]


async def test_who_sends_is_asked_before_the_body_is_read(birds: FastAPI) -> None:
    read, sent = await asked(birds, "/mine")
    assert (read, sent) == (0, 401)


async def test_a_client_that_goes_in_the_middle_of_its_body_is_no_error_of_ours(
    birds: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    read, sent = await asked(birds, "/bird")
    assert (read, sent) == (1, None)
    assert "failed" not in caplog.text


def test_the_description_has_the_body(birds: FastAPI) -> None:
    paths = birds.openapi()["paths"]
    described = paths["/bird"]["post"]["requestBody"]
    assert described["required"] is True
    assert "name" in described["content"]["application/json"]["schema"]["properties"]
    assert paths["/maybe"]["post"]["requestBody"]["required"] is False


async def asked(app: Callable[..., Awaitable[None]], path: str) -> tuple[int, int | None]:
    """How often the body was asked for by a client that has gone, and the status of the answer."""
    read, sent = 0, None

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent = message.get("status", sent)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return read, sent
