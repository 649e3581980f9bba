"""The Kubernetes API through `kubectl proxy`, which supports every kubeconfig and login.

`kubectl apply --server-side` is not used for writes: on an object that was once applied
client-side, it first takes over all fields, and the next apply without them removes them. So the
apply goes to the API server through the proxy, on a socket that only this user can open.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlencode

from kotatsu_operator.core.nesting import loads

from .errors import ConflictError, DemoModeError, ForbiddenError, NotFoundError, NotServedError
from .objects import Object

MANAGER = "demo-mode"
"""The field manager that owns the override and the windows of this plugin."""

APPLY, MERGE, STRATEGIC, JSON_PATCH, JSON = (
    "application/apply-patch+yaml",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/json",
)
_ACCEPT = "application/json, */*"
_TIMEOUT, _PAGE_TIMEOUT = 30.0, 5.0
"""Seconds for one answer of the API server, and for a page of a pod."""

_GREETED_WITHIN = 1.0
"""Seconds within which a server that speaks first does so."""

_FORWARDED = re.compile(r"127\.0\.0\.1:(\d+) ->")

_TOO_MANY, _TRIES = 429, 15
"""The API server is busy, or begins to serve a CRD: kubectl tries again after a second, too."""

_HAS_SOCKETS = hasattr(socket, "AF_UNIX")
"""Python on Windows has no Unix sockets: the proxy listens on a free port of loopback."""

_SOCKET = "api.sock"


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """A session with a cluster; a context manager."""

    def __init__(
        self,
        flags: Sequence[str] = (),
        kubectl: str = "kubectl",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._flags, self._sleep = list(flags), sleep
        self._kubectl = kubectl
        self._home = ""
        self._proxy: subprocess.Popen[str] | None = None
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.communicate()
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)

    def namespace(self) -> str:
        """The namespace of the current context; the proxy starts at the same time."""
        config = self._start("config", "view", "--minify", "-o", "jsonpath={..namespace}")
        self._start_proxy()
        text, _ = config.communicate()
        return text.strip() or "default"

    def get(self, path: str, **query: str) -> Object:
        """Read an object or a list. Raises DemoModeError, NotFoundError."""
        return _object(self.text(path, **query))

    def text(self, path: str, **query: str) -> str:
        """Read text, such as a pod's log."""
        return self._request("GET", path, query)

    def page(self, path: str, most: int) -> tuple[int, str]:
        """Read a page of a pod: its status, and at most `most` bytes. Raises DemoModeError."""
        return self._answer("GET", path, None, JSON, most, _PAGE_TIMEOUT)

    def greeting(self, namespace: str, pod: str, port: int) -> bytes | None:
        """What a pod says on a port to a client that says nothing; empty after a second.

        None if nothing listens there. Raises DemoModeError, in kubectl's words.
        """
        where = ("--namespace", namespace, "--address", "127.0.0.1")
        forward = self._start("port-forward", f"pod/{pod}", f":{port}", *where)
        watchdog = threading.Timer(_PAGE_TIMEOUT, forward.kill)
        watchdog.start()
        try:
            assert forward.stdout is not None  # noqa: S101  (a pipe was asked for)
            listening = _FORWARDED.search(forward.stdout.readline())
            if listening is None:
                _, said = forward.communicate()
                raise DemoModeError(_last_line(said) or "kubectl port-forward does not answer")
            with (
                suppress(TimeoutError, ConnectionError),
                socket.create_connection(
                    ("127.0.0.1", int(listening[1])), _GREETED_WITHIN
                ) as there,
            ):
                if heard := there.recv(1024):
                    return heard
            forward.kill()
            # What kubectl says of the connection comes before its end.
            return None if "connection refused" in forward.communicate()[1].lower() else b""
        finally:
            watchdog.cancel()
            forward.kill()
            forward.communicate()

    def create(self, path: str, body: Object, **query: str) -> Object:
        """Create an object. Raises ConflictError if it exists."""
        return _object(self._request("POST", path, query, body))

    def delete(self, path: str, **query: str) -> None:
        """Delete an object, if it exists."""
        with suppress(NotFoundError):
            self._request("DELETE", path, query)

    def patch(
        self, path: str, body: Object | list[Object], kind: str, query: Mapping[str, str]
    ) -> Object:
        """Patch an object, by default as the manager `demo-mode`. Raises ConflictError too."""
        query = {"fieldManager": MANAGER, **query}
        return _object(self._request("PATCH", path, query, body, kind))

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | list[Object] | None = None,
        kind: str = JSON,
    ) -> str:
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body)
        for tries_left in range(_TRIES, -1, -1):
            status, text = self._answer(method, target, data, kind)
            if status != _TOO_MANY or not tries_left:
                break
            self._sleep(1.0)
        if status >= 300:
            raise explain(status, text)
        return text

    def _answer(
        self,
        method: str,
        target: str,
        data: str | None,
        kind: str,
        most: int | None = None,
        timeout: float = _TIMEOUT,
    ) -> tuple[int, str]:
        """The status and at most so many bytes of an answer. Raises DemoModeError."""
        if self._connection is None:
            self._connection = self._serve()
        connection, headers = self._connection, {"Content-Type": kind, "Accept": _ACCEPT}
        try:
            connection.timeout = timeout
            if connection.sock is not None:  # a connection outlives one request
                connection.sock.settimeout(timeout)
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            text = response.read(most).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise DemoModeError(
                f"kubectl proxy does not answer ({error}); check `kubectl cluster-info`"
            ) from None
        except KeyboardInterrupt:
            connection.close()  # the request that undoes what was begun connects again
            raise
        if not response.isclosed():
            connection.close()  # the rest is not read; the next request connects again
        return response.status, text

    def _start_proxy(self) -> subprocess.Popen[str]:
        if self._proxy is None:
            listen = "--port=0"
            # A process that can open the socket has this user's permissions: the directory is
            # private.
            if _HAS_SOCKETS:
                self._home = tempfile.mkdtemp(prefix="demo-mode-")
                listen = f"--unix-socket={self._home}/{_SOCKET}"
            self._proxy = self._start("proxy", listen)
        return self._proxy

    def _serve(self) -> http.client.HTTPConnection:
        proxy = self._start_proxy()
        assert proxy.stdout is not None  # noqa: S101  (a pipe was asked for)
        line = proxy.stdout.readline()
        if not line.startswith("Starting to serve"):  # it may ask for a password instead
            proxy.kill()
            _, said = proxy.communicate()
            why = _last_line(said) or line.strip() or "kubectl ended without a message"
            raise DemoModeError(
                f"kubectl cannot reach a cluster: {why}; see `kubectl config get-contexts`"
            )
        if _HAS_SOCKETS:
            return _SocketConnection(f"{self._home}/{_SOCKET}")
        host, _, port = line.split()[-1].rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                [self._kubectl, *arguments, *self._flags],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # Ctrl-C ends this program, which may need kubectl to undo what it has begun.
                preexec_fn=_ignore_interrupts if os.name == "posix" else None,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError:
            raise DemoModeError("kubectl is not on the PATH; install it and try again") from None


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _object(text: str) -> Object:
    try:
        answer = loads(text.encode())
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DemoModeError(
            "the answer is not from an API server of Kubernetes; check `kubectl cluster-info`"
        )
    return answer


def _last_line(text: str) -> str:
    lines = [line.removeprefix("error: ") for line in text.strip().splitlines()]
    return lines[-1] if lines else ""


def explain(status: int, text: str) -> DemoModeError:
    """The error for a status of the API server."""
    try:
        answer = _object(text)
    except DemoModeError:
        answer = {}
    message = str(answer.get("message") or text).strip()
    match status:
        case 401:
            return DemoModeError(
                "the cluster does not accept your credentials; log in again and retry"
            )
        case 403:
            return ForbiddenError(
                f"you have no permission: {message}; ask an administrator of the cluster"
            )
        case 404 if not answer:
            return NotServedError(
                "this cluster has no CRD warmpools.kotatsu.dev; install the chart kotatsu, or "
                "choose another --context"
            )
        case 404:
            return NotFoundError(f"{message}; see `kubectl get warmpools -A`")
        case 409:
            return ConflictError(message)
        case _ if status in (502, 503, 504) or (status >= 500 and not answer):
            # `kubectl proxy` itself answers 500 if it reaches no server or cannot log in.
            return DemoModeError(
                f"the API server does not answer: {message}; check `kubectl cluster-info`"
            )
    return DemoModeError(f"the API server rejected it: {message}; correct that and try again")


def dry_run_query(dry_run: bool) -> dict[str, str]:
    """The query with which the API server validates a change and does not save it."""
    return {"dryRun": "All"} if dry_run else {}


def find(api: Api, path: str, **query: str) -> Object | None:
    """An object or a list; None if it does not exist, or the cluster has no such kind."""
    try:
        return api.get(path, **query)
    except (NotFoundError, NotServedError):
        return None
