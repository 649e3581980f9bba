"""HTTP between the apps without sockets; only what is not here goes over the network."""

from collections.abc import Mapping

import httpx


class Hosts(httpx.AsyncBaseTransport):
    """Sends a request to the app that its host name stands for."""

    def __init__(self) -> None:
        self._apps: dict[str, httpx.AsyncBaseTransport] = {}
        self._network: httpx.AsyncHTTPTransport | None = None

    def update(self, apps: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        """Make apps known by their names."""
        self._apps.update(apps)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        app = self._apps.get(request.url.host)
        if app is not None:
            return await app.handle_async_request(request)
        self._network = self._network or httpx.AsyncHTTPTransport()
        return await self._network.handle_async_request(request)

    async def aclose(self) -> None:
        """Close what was opened."""
        if self._network is not None:
            await self._network.aclose()
