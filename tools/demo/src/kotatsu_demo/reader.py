"""Look at a pool and its pods, many times a second, through one `kubectl proxy`.

kubectl knows how to log in to any context's cluster; a request through its proxy costs a
millisecond, a kubectl of its own a tenth of a second.
"""

from __future__ import annotations

import re
import time
from types import TracebackType
from typing import Any

import httpx

from kotatsu_demo.errors import DemoError
from kotatsu_demo.kube import Kube
from kotatsu_demo.snapshot import Object, Snapshot, snapshot

_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
_GIVE_UP_SECONDS = 20.0


class Reader:
    """Reads one WarmPool, its Deployment and pods; use it as a context manager."""

    def __init__(self, kube: Kube, pool: str) -> None:
        self._kube, self._pool = kube, pool
        self.status: Object = {}
        """The pool's status as it was last read."""

    def __enter__(self) -> Reader:
        self._proxy = self._kube.open("proxy", "--port=0")
        assert self._proxy.stdout is not None  # noqa: S101 - it was asked for
        said = self._proxy.stdout.readline()
        address = _ADDRESS.search(said)
        if address is None:
            self._proxy.kill()
            raise DemoError(f"`kubectl proxy` did not start: {said.strip()}")
        self._http = httpx.Client(base_url=f"http://{address[0]}", timeout=5.0, trust_env=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._http.close()
        self._proxy.terminate()
        self._proxy.wait()

    def read(self) -> Snapshot:
        """What there is now; waits through short outages of the API server."""
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            try:
                return self._read()
            except httpx.HTTPError as error:
                if time.monotonic() > give_up:
                    raise DemoError(f"the API server does not answer: {error}") from None
                time.sleep(0.5)

    def _read(self) -> Snapshot:
        space = f"namespaces/{self._kube.namespace}"
        pool = self._get(f"/apis/kotatsu.dev/v1beta1/{space}/warmpools/{self._pool}")
        target = pool["spec"]["targetRef"]["name"]
        deployment = self._get(f"/apis/apps/v1/{space}/deployments/{target}")
        labels = deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        pods = self._get(f"/api/v1/{space}/pods", labelSelector=selector)
        self.status = pool.get("status") or {}
        return snapshot(pool, deployment, pods["items"])

    def _get(self, path: str, **parameters: str) -> Any:
        response = self._http.get(path, params=parameters)
        if response.status_code == httpx.codes.NOT_FOUND:
            raise DemoError(
                f"{path.rpartition('/')[2]} is not in namespace {self._kube.namespace} any more",
                hint="somebody removed it; `make demo` installs it again",
            )
        response.raise_for_status()
        return response.json()
