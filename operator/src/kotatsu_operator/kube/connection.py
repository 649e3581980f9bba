"""HTTP connections to the API server, over aiohttp (decision 100)."""

import contextlib
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError
from yarl import URL

from kotatsu_operator.kube.errors import ApiError, HttpError, SilentError
from kotatsu_operator.runtime.turns import Turns

TIMEOUT = 10.0
"""Seconds for a connection, and between two parts of an answer."""

_NO_CONNECTION = (
    f"no connection to the API server within {TIMEOUT:.0f} s. If there never was one, a "
    "NetworkPolicy may block it: the chart value networkPolicy.apiServerPorts needs the port that "
    "`kubectl get endpointslices kubernetes -n default` shows"
)

_BOUNDED = aiohttp.ClientTimeout(connect=TIMEOUT, sock_read=TIMEOUT)
_ENDLESS = aiohttp.ClientTimeout(connect=TIMEOUT)

MOST = 32
"""Connections at once, beside those of watches and one for lists; namespaces take turns. Each has
buffers of 300 KiB for TLS."""

TOKEN_SECONDS = 60.0
"""How long a token that was read from a file is used. A kubelet replaces it minutes before it
expires."""


class Connection:
    """Connections to one API server, made with the first request.

    `actor` is the field manager of every write. `middlewares` are aiohttp's.
    """

    def __init__(
        self,
        config: SingleConfig,
        actor: str,
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    ) -> None:
        self._config, self._actor, self._middlewares = config, actor, middlewares
        self._server = config.cluster.server.rstrip("/")
        self._user = config.user or User()
        self._authorization = authorization(self._user)
        self._session: aiohttp.ClientSession | None = None
        self.turns = Turns(MOST)
        """What calls wait for. A wait has no bound of its own: it is not the API server's."""

    @classmethod
    def from_environment(cls, actor: str) -> "Connection":
        """By the pod's service account, or by KUBECONFIG outside of a cluster."""
        config = KubeConfig.from_env().get()
        if config is None:
            raise ConfigError("the kubeconfig has no current context")
        return cls(config, actor)

    def another(self) -> "Connection":
        """Further connections of the same kind."""
        return Connection(self._config, self._actor, self._middlewares)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] = {},
        body: Any = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, with its body unread.

        The caller bounds the number of requests, by `turns` for instance. Raises ApiError or
        HttpError for an answer that is an error, SilentError, and aiohttp.ClientError.
        """
        if self._session is None:
            self._session = self._connect()
        headers, data = {"Accept": accept}, None
        if token := self._authorization():
            headers["Authorization"] = token
        if method in ("POST", "PUT", "PATCH"):
            params = {"fieldManager": self._actor, **params}
            headers["Content-Type"], data = content, msgspec.json.encode(body)
        url = URL(f"{self._server}/{path}", encoded=True).with_query(params)
        try:
            asked = self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=_ENDLESS if "watch" in params else _BOUNDED,
                allow_redirects=False,
            )
            async with asked as response:
                if response.status >= 300:
                    raise _error(response, await response.read())
                yield response
        except aiohttp.ConnectionTimeoutError:
            raise SilentError(_NO_CONNECTION) from None
        except aiohttp.ServerTimeoutError as error:
            raise SilentError(str(error)) from None

    def _connect(self) -> aiohttp.ClientSession:
        at, config = urlsplit(self._server), self._config
        trusted = verify_cluster(config.cluster, self._user, config.abs_file)
        is_direct = urllib.request.proxy_bypass(at.hostname or "")
        return aiohttp.ClientSession(
            # Without a limit: aiohttp's queue is FIFO, and waiting in it counts as connecting.
            connector=aiohttp.TCPConnector(ssl=trusted, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=None if is_direct else urllib.request.getproxies().get(at.scheme),
            middlewares=self._middlewares,
        )


def authorization(user: User, clock: Callable[[], float] = time.monotonic) -> Callable[[], str]:
    """What gives the value of the Authorization header; empty for none."""
    if user.token_file is None:
        known = f"Bearer {user.token}" if user.token else ""
        return lambda: known
    file, token, until = Path(user.token_file), "", -inf

    def current() -> str:
        nonlocal token, until
        if (now := clock()) >= until:
            token, until = f"Bearer {file.read_text().strip()}", now + TOKEN_SECONDS
        return token

    return current


class _Status(msgspec.Struct):
    """The kind Status of the API server."""

    class Details(msgspec.Struct):
        class Cause(msgspec.Struct):
            field: str = ""

        causes: list[Cause] = []

    message: str = ""
    code: int = 0
    details: Details | None = None


def error_of(status: bytes | msgspec.Raw) -> ApiError:
    """The error that a Status of the API server says. Raises msgspec.MsgspecError for another."""
    said = msgspec.json.decode(status, type=_Status)
    causes = said.details.causes if said.details is not None else []
    return ApiError(said.code, said.message, [cause.field for cause in causes])


def _error(response: aiohttp.ClientResponse, body: bytes) -> HttpError:
    if response.content_type == "application/json":
        with contextlib.suppress(msgspec.MsgspecError):
            error = error_of(body)
            error.code = error.code or response.status
            return error
    text = body[:200].decode(errors="replace").strip()
    return HttpError(response.status, f"the API server answers {response.status}: {text}")
