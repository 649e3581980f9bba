"""The questions that auth answers."""

import logging
import string
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from kotatsu_auth.github import BadClientError, BadCodeError, GitHubAccounts
from kotatsu_auth.metrics import AuthMetrics
from kotatsu_auth.verifier import TokenRefusedError, Verifier
from kotatsu_common.github import GitHubUnavailableError
from kotatsu_common.identity import CHALLENGE, Identity, identity_dependency, token_of
from kotatsu_common.problems import Problem, phrase, problem_responses
from kotatsu_common.turns import Busy

USER_HEADERS = ("X-User-Id", "X-User-Login", "X-User-Avatar")
NO_STORE = {"Cache-Control": "no-store"}
MAX_CODE = 255
MAX_TOKEN = 2000
_VISIBLE = frozenset(string.ascii_letters + string.digits + string.punctuation)
logger = logging.getLogger("kotatsu.auth")


class Login(BaseModel):
    """What a web page brings back from GitHub's login page."""

    code: str = Field(description="what GitHub's login page gave")
    code_verifier: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._~-]{43,128}$",
        description="the secret of RFC 7636 whose SHA-256 the login page was given",
    )


class Token(BaseModel):
    """A GitHub token."""

    access_token: str


class Who(BaseModel):
    """The user whom a token belongs to."""

    userId: int = Field(description="GitHub's number for the user; a login can change")  # noqa: N815
    login: str
    avatarUrl: str  # noqa: N815


class Authorize:
    """/authorize and everything below it, for any method.

    Gateways ask in their own way: nginx and Traefik with GET, Envoy with the method of the original
    request and its path appended.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its body is not read."""
        who = await self.identify(Headers(scope=scope).get("authorization"))
        await answer(who)(scope, receive, send)

    async def identify(self, authorization: str | None) -> Identity:
        """The user of an Authorization header, or a Problem: 401, 403, 502, 503."""
        token = token_of(authorization)
        if token is None:
            raise _unauthorized("Send a GitHub token in Authorization.")
        if len(token) > MAX_TOKEN:
            raise _unauthorized("What Authorization holds is too long for a GitHub token.")
        try:
            return await self._verifier.verify(token)
        except TokenRefusedError as refused:
            if refused.why == "foreign":
                raise Problem(
                    403,
                    "Not allowed",
                    "The token was issued to another application. Log in here to get one.",
                    headers=NO_STORE,
                ) from None
            raise _unauthorized("GitHub does not accept the token. Log in again.") from None
        except GitHubUnavailableError as error:
            raise _unavailable(error) from error
        except BadClientError as error:
            raise _misconfigured() from error


def answer(who: Identity) -> Response:
    """The user in headers, for gateways, and in JSON, for services."""
    headers = {
        "X-User-Id": str(who.user_id),
        "X-User-Login": who.login,
        "X-User-Avatar": who.avatar_url,
    }
    return JSONResponse(who.to_json(), headers={**headers, **NO_STORE})


def create_routes(verifier: Verifier, accounts: GitHubAccounts, metrics: AuthMetrics) -> APIRouter:
    """The routes with their documentation."""
    router = APIRouter()
    authorize = Authorize(verifier)
    identify = identity_dependency(authorize.identify)

    async def exchanged(code: str, code_verifier: str | None) -> Token:
        if not code:
            raise _bad_code("Send the code that GitHub's login page gave.")
        if len(code) > MAX_CODE or not _VISIBLE.issuperset(code):
            raise _bad_code("This can't be a code of GitHub's.")
        try:
            access_token = await accounts.exchange(code, code_verifier)
        except BadCodeError as error:
            metrics.login("bad_code")
            raise _bad_code(
                f"GitHub does not accept the code ({error.error}). A code works once, for ten"
                " minutes: log in again."
            ) from None
        except BadClientError as error:
            metrics.login("bad_client")
            raise _misconfigured() from error
        except GitHubUnavailableError as error:
            metrics.login("unavailable")
            raise _unavailable(error) from error
        except Busy:
            metrics.login("busy")
            raise
        metrics.login("ok")
        verifier.issued(access_token)
        return Token(access_token=access_token)

    @router.get("/token", tags=["login"], responses=problem_responses(400, 502, 503))
    async def token(
        response: Response,
        code: Annotated[str, Query(description="what GitHub's login page gave")] = "",
    ) -> Token:
        """Exchange the code of GitHub's login page for a token: for apps that can do only this.

        What logs addresses may log the code; POST has it in the body.
        """
        response.headers.update(NO_STORE)
        return await exchanged(code, None)

    @router.post("/token", tags=["login"], responses=problem_responses(400, 422, 502, 503))
    async def token_for(response: Response, login: Login) -> Token:
        """Exchange the code of GitHub's login page for a token, with PKCE (RFC 7636)."""
        response.headers.update(NO_STORE)
        return await exchanged(login.code, login.code_verifier)

    @router.get(
        "/authorize",
        tags=["identity"],
        response_model=Who,
        responses={
            200: {"headers": {name: {"schema": {"type": "string"}} for name in USER_HEADERS}},
            **problem_responses(401, 403, 502, 503),
        },
    )
    async def authorize_get(who: Annotated[Identity, Depends(identify)]) -> Response:
        """Say whose token Authorization holds. Gateways may use any method and any path below."""
        return answer(who)

    # Of two routes with one path Starlette names the methods of the first alone.
    neither = Problem(405, phrase(405), headers={"Allow": "GET, POST"}).response()
    router.routes.append(Route("/token", neither, include_in_schema=False))
    for path in ("/authorize", "/authorize/{rest:path}"):
        router.routes.append(Route(path, authorize, include_in_schema=False))
    return router


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "Not signed in", detail, headers={**CHALLENGE, **NO_STORE})


def _bad_code(detail: str) -> Problem:
    return Problem(400, "Login failed", detail, headers=NO_STORE)


def _unavailable(error: GitHubUnavailableError) -> Problem:
    logger.warning("GitHub can't be asked (%s): %s", error.reason, error.detail)
    return Problem(
        503,
        "GitHub can't be asked just now",
        f"{error.detail} Try again in a moment.",
        headers={**error.headers, **NO_STORE},
        reason=error.reason,
    )


def _misconfigured() -> Problem:
    logger.error(
        "GitHub does not accept KOTATSU_GITHUB_CLIENT_ID, KOTATSU_GITHUB_CLIENT_SECRET or the"
        " callback URL: compare them with the settings of the OAuth app on GitHub"
    )
    return Problem(
        502,
        "Login is not configured correctly",
        "GitHub does not accept this server's own credentials. Contact its administrator.",
        headers=NO_STORE,
    )
