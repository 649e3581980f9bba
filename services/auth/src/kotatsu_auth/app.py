"""The app, put together from its parts."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from kotatsu_auth.cache import TokenCache
from kotatsu_auth.github import GitHubAccounts
from kotatsu_auth.metrics import AuthMetrics
from kotatsu_auth.routes import USER_HEADERS, create_routes
from kotatsu_auth.settings import AuthSettings
from kotatsu_auth.verifier import Verifier
from kotatsu_common import fetch
from kotatsu_common.app import create_base_app
from kotatsu_common.github import GitHub, GitHubMetrics
from kotatsu_common.health import Readiness


def create_app(
    settings: AuthSettings,
    *,
    http: httpx.AsyncClient | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """Auth as an ASGI app. `http` reaches GitHub; one that is handed in stays the caller's.

    `clock` (monotonic) ages the cache; `now` (Unix time) reads GitHub's rate-limit resets.
    """
    client = http or fetch.client()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if http is None:
            await client.aclose()

    registry = CollectorRegistry()
    github = GitHub(
        client, GitHubMetrics(registry, "kotatsu_auth"), timeout=settings.github_timeout, now=now
    )
    accounts = GitHubAccounts(
        github,
        api_url=settings.github_api_url,
        oauth_url=settings.github_oauth_url,
        client_id=settings.github_client_id,
        client_secret=settings.github_client_secret.get_secret_value(),
    )
    cache = TokenCache(
        ttl=settings.token_ttl,
        refused_ttl=settings.token_refused_ttl,
        stale=settings.token_stale,
        size=settings.token_cache_size,
    )
    metrics = AuthMetrics(registry, cached_tokens=lambda: len(cache))
    verifier = Verifier(
        accounts,
        cache,
        metrics.verification,
        clock=clock,
        own_tokens_only=settings.github_own_tokens_only,
    )
    # Ready whatever GitHub does: when it is down, known users must still get their answers.
    readiness = Readiness()
    readiness.ready()
    app = create_base_app(
        settings,
        title="Kotatsu auth",
        registry=registry,
        readiness=readiness,
        lifespan=lifespan,
        expose_headers=USER_HEADERS,
    )
    app.description = "GitHub identity: the OAuth code exchange, and whose token is this?"
    app.include_router(create_routes(verifier, accounts, metrics))
    return app
