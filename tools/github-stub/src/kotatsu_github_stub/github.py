"""The endpoints of GitHub, as far as the pet needs them."""

import base64
import hashlib
import json
from typing import Annotated, Any, Literal
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form, Header, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel

from kotatsu_github_stub.answers import failure, limit_headers
from kotatsu_github_stub.people import Person, person_of, token_in
from kotatsu_github_stub.state import State

WRONG = "wrong"
"""A client secret that is refused, to see what a wrong setting looks like."""


class AppToken(BaseModel):
    """The body of /applications/{client_id}/token."""

    access_token: str


class GraphQL(BaseModel):
    """A GraphQL request."""

    query: str
    variables: dict[str, Any] = {}


def github_router(state: State, public_url: str) -> APIRouter:
    """All of GitHub that there is here."""
    router = APIRouter(tags=["github"])

    @router.get("/login/oauth/authorize")
    async def authorize(
        redirect_uri: str,
        login: str = "demo",
        csrf: Annotated[str, Query(alias="state")] = "",
        code_challenge: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{43}$")] = "",
        code_challenge_method: Literal["S256", ""] = "",
    ) -> Response:
        """GitHub's login page, where everybody says yes at once; `login` says who.

        A code that was asked for with a challenge (PKCE) has it behind a dot.
        """
        if urlsplit(redirect_uri).scheme not in ("http", "https"):
            return JSONResponse({"error": "redirect_uri_mismatch"}, 400)
        if bool(code_challenge) != bool(code_challenge_method):
            return JSONResponse({"error": "invalid_request"}, 400)
        code = "demo" if login == "demo" else f"demo-{login}"
        code += f".{code_challenge}" if code_challenge else ""
        mark = "&" if "?" in redirect_uri else "?"
        query = urlencode({"code": code, "state": csrf})
        return RedirectResponse(f"{redirect_uri}{mark}{query}", 302)

    @router.post("/login/oauth/access_token")
    async def access_token(
        client_id: Annotated[str, Form()] = "",
        client_secret: Annotated[str, Form()] = "",
        code: Annotated[str, Form()] = "",
        code_verifier: Annotated[str, Form()] = "",
    ) -> Response:
        """A code is the token it is worth; everything that goes wrong is 200 with an `error`."""
        failed = await failure(state, "access_token")
        if failed:
            return failed
        if not client_id or client_secret in ("", WRONG):
            return JSONResponse({"error": "incorrect_client_credentials"})
        token, _, challenge = code.partition(".")
        if person_of(token) is None or (challenge and challenge_of(code_verifier) != challenge):
            return JSONResponse({"error": "bad_verification_code"})
        return JSONResponse({"access_token": token, "token_type": "bearer", "scope": ""})

    @router.get("/user")
    async def user(
        request: Request,
        authorization: Annotated[str, Header()] = "",
        if_none_match: Annotated[str, Header()] = "",
    ) -> Response:
        """Who the token is, with an ETag; 304 costs none of the rate limit."""
        failed = await failure(state, "user")
        if failed:
            return failed
        person = person_of(token_in(authorization))
        if person is None:
            return _bad_credentials()
        base = public_url or str(request.base_url).rstrip("/")
        body = describe(person, base)
        etag = f'W/"{hashlib.sha256(json.dumps(body).encode()).hexdigest()}"'
        if if_none_match == etag:
            state.not_modified += 1
            return Response(status_code=304, headers={"etag": etag, **limit_headers(state)})
        state.remaining = max(0, state.remaining - 1)
        return JSONResponse(body, headers={"etag": etag, **limit_headers(state)})

    @router.post("/applications/{client_id}/token")
    async def app_token(client_id: str, body: AppToken, request: Request) -> Response:
        """Whether a token is of this OAuth app: all but those whose user is called foreign…."""
        del client_id
        failed = await failure(state, "app_token")
        if failed:
            return failed
        if not request.headers.get("authorization", "").lower().startswith("basic "):
            return _bad_credentials()
        person = person_of(body.access_token)
        if person is None or person.login.startswith("foreign"):
            return JSONResponse({"message": "Not Found"}, 404, limit_headers(state))
        base = public_url or str(request.base_url).rstrip("/")
        return JSONResponse({"user": describe(person, base)}, headers=limit_headers(state))

    @router.post("/graphql")
    async def graphql(body: GraphQL, authorization: Annotated[str, Header()] = "") -> Response:
        """Today's contributions, spread over the three kinds and over Dart and other languages."""
        failed = await failure(state, "graphql")
        if failed:
            return failed
        if person_of(token_in(authorization)) is None:
            return _bad_credentials()
        state.remaining = max(0, state.remaining - 1)
        headers = limit_headers(state)
        login = str(body.variables.get("login", ""))
        if person_of("demo" if login == "demo" else f"demo-{login}") is None:
            message = f"Could not resolve to a User with the login of '{login}'."
            errors = [{"type": "NOT_FOUND", "path": ["user"], "message": message}]
            return JSONResponse({"data": {"user": None}, "errors": errors}, headers=headers)
        collection = contributions(state.contributions_of(login))
        data = {"data": {"user": {"contributionsCollection": collection}}}
        return JSONResponse(data, headers=headers)

    return router


def challenge_of(code_verifier: str) -> str:
    """S256 of RFC 7636, the only method that GitHub takes."""
    digest = hashlib.sha256(code_verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def describe(person: Person, base: str) -> dict[str, Any]:
    """A user in the words of GitHub's /user."""
    return {
        "login": person.login,
        "id": person.id,
        "avatar_url": f"{base}/_stub/avatars/{person.login}.svg",
        "name": person.login.title(),
        "type": "User",
    }


def contributions(dart: int) -> dict[str, Any]:
    """A contributionsCollection in which `dart` contributions count, and some others don't."""
    pulls, issues = dart // 4, dart // 5
    return {
        "commitContributionsByRepository": [
            _repository(dart - pulls - issues, "Dart", "C++"),
            _repository(3, "Python", "Shell"),
        ],
        "issueContributionsByRepository": [_repository(issues, "Swift", "Dart")],
        "pullRequestContributionsByRepository": [_repository(pulls, "Dart"), _repository(1)],
    }


def _repository(count: int, *languages: str) -> dict[str, Any]:
    return {
        "repository": {"languages": {"nodes": [{"name": name} for name in languages]}},
        "contributions": {"totalCount": count},
    }


def _bad_credentials() -> Response:
    return JSONResponse({"message": "Bad credentials"}, 401)
