"""The stub as an app: GitHub's endpoints, and its own under /_stub."""

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CollectorRegistry

from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_common.problems import Problem, problem_responses
from kotatsu_github_stub.avatar import draw
from kotatsu_github_stub.github import github_router
from kotatsu_github_stub.people import Person
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import Script, State


def create_app(settings: StubSettings, *, state: State | None = None) -> FastAPI:
    """The stub; a `state` that is handed in can be steered from outside, as tests do."""
    state = state or State(settings.stub_contributions)
    readiness = Readiness()
    readiness.ready()
    app = create_base_app(
        settings,
        title="GitHub stub",
        registry=CollectorRegistry(),
        readiness=readiness,
    )
    app.description = "Not GitHub. For tests and demos only: it lets everybody in."
    app.include_router(github_router(state, settings.stub_public_url.rstrip("/")))
    app.include_router(_control(state))
    return app


def _control(state: State) -> APIRouter:
    router = APIRouter(prefix="/_stub", tags=["stub"])

    @router.get("/control")
    async def show() -> dict[str, object]:
        """What the stub was told, and how often each call was made."""
        return state.describe()

    @router.put("/control")
    async def follow(script: Script) -> dict[str, object]:
        """Change what the stub does from now on."""
        state.follow(script)
        return state.describe()

    @router.delete("/control")
    async def reset() -> dict[str, object]:
        """Back to the beginning."""
        state.reset()
        return state.describe()

    @router.get("/avatars/{name}", response_class=Response, responses=problem_responses(404))
    async def avatar(name: str) -> Response:
        """A user's avatar."""
        login = name.removesuffix(".svg")
        if login == name:
            raise Problem(404, "Not Found", "Avatars end in .svg.")
        return Response(draw(Person(login).id), media_type="image/svg+xml")

    return router
