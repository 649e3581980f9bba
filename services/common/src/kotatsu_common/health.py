"""Whether the process lives, whether it may get traffic, and its metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from kotatsu_common.problems import Problem, problem_responses
from kotatsu_common.traffic import IN_FLIGHT


@dataclass(frozen=True)
class ReadinessState:
    """Ready or not, and why not."""

    is_ready: bool
    reason: str = ""


class Readiness:
    """Set by the service as it warms up and if it breaks; read by the kubelet's probe."""

    def __init__(self, reason: str = "starting") -> None:
        self._state = ReadinessState(False, reason)

    @property
    def state(self) -> ReadinessState:
        """The latest word."""
        return self._state

    def ready(self) -> None:
        """From now on requests are answered."""
        self._state = ReadinessState(True)

    def not_ready(self, reason: str) -> None:
        """From now on requests would fail, for `reason` (shown to whoever asks)."""
        self._state = ReadinessState(False, reason)


def health_router(
    readiness: Readiness, registry: CollectorRegistry, restart: Callable[[], str]
) -> APIRouter:
    """/livez, /readyz and /metrics."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", response_class=PlainTextResponse, responses=problem_responses(503))
    async def livez() -> str:
        """The process answers, and need not be restarted now."""
        reason = restart()
        if reason and not registry.get_sample_value(IN_FLIGHT):
            raise Problem(503, "Restart this process", reason)
        return "ok"

    @router.get("/readyz", response_class=PlainTextResponse, responses=problem_responses(503))
    async def readyz() -> str:
        """The service can do its work."""
        state = readiness.state
        if not state.is_ready:
            raise Problem(503, "Not ready", state.reason, headers={"Retry-After": "1"})
        return "ok"

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Metrics for Prometheus."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": media_type})

    return router
