"""The pretended kubelets: every pod of a cluster becomes Ready, so many a second."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from lightkube import ApiError, AsyncClient
from lightkube.types import PatchType

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.informer import follow_forever
from kotatsu_operator.kube.objects import Object, Pod

PAGE = b"kotatsu_requests_in_flight 0\nkotatsu_last_request_timestamp_seconds 0\n"


class Kubelet:
    """Starts pods: `per_second` of them, each Ready `takes` seconds after its turn."""

    def __init__(
        self, client: AsyncClient, namespace: str, per_second: float, takes: float
    ) -> None:
        self._client: Any = client
        self._namespace = namespace
        self._pause, self._takes = 1 / per_second, takes
        self._free_at = 0.0
        self._known: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            await follow_forever(Kube(self._client), Pod, self._namespace, self._on_change)
        finally:
            for task in self._tasks:
                task.cancel()

    def _on_change(self, change: str, obj: Object) -> None:
        for pod in obj["items"] if change == "LIST" else [obj]:
            if pod["metadata"]["uid"] in self._known or change == "DELETED":
                continue
            self._known.add(pod["metadata"]["uid"])
            self._free_at = max(self._free_at, time.monotonic()) + self._pause
            task = asyncio.create_task(self._start(pod["metadata"]["name"], self._free_at))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start(self, name: str, turn: float) -> None:
        await asyncio.sleep(turn + self._takes - time.monotonic())
        try:
            await self._client.patch(
                Pod.Status,
                name,
                {"status": ready_status()},
                namespace=self._namespace,
                patch_type=PatchType.MERGE,
            )
        except ApiError as error:
            if error.status.code != 404:  # scaled down meanwhile
                raise


def ready_status() -> dict[str, Any]:
    """The status of a pod that is Ready since now."""
    now = stamp(datetime.now(UTC).replace(microsecond=0))
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions}


async def serve_metrics() -> tuple[asyncio.Server, int]:
    """Serve the metrics page of all pods at once; the server and its port."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(PAGE)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head + PAGE)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])
