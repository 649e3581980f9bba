"""The pretended kubelets: every pod of a cluster becomes Ready, so many a second."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from lightkube import ApiError, AsyncClient
from lightkube.types import PatchType

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.protocol import SHARD_LABEL
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.connection import Connection
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import Object, Pod

PAGE = b"kotatsu_requests_in_flight 0\nkotatsu_last_request_timestamp_seconds 0\n"


class Kubelet:
    """Starts pods: without `activators`, those that are none.

    `per_second` of them, each Ready `takes` seconds after its turn. All have one `address`; `scope`
    is a namespace or EVERYWHERE.
    """

    def __init__(
        self,
        client: AsyncClient,
        scope: str,
        per_second: float,
        takes: float,
        address: str = "127.0.0.1",
        *,
        activators: bool = False,
    ) -> None:
        self._client: Any = client
        self._scope, self._address, self._activators = scope, address, activators
        self.per_second, self.takes = per_second, takes
        self.never: set[str] = set()
        """Apps whose pods do not become Ready."""
        self._free_at = 0.0
        self._known: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        kube = Kube(Connection(self._client.config, "kubelet"))
        try:
            await Watch(kube, Pod, self._scope, self._on_change).run()
        finally:
            for task in self._tasks:
                task.cancel()
            await kube.close()

    def _on_change(self, _: str, change: str, obj: Object) -> None:
        for pod in obj["items"] if change in ("PART", "LIST") else [obj]:
            meta = pod["metadata"]
            labels = meta.get("labels") or {}
            is_started = self._activators or SHARD_LABEL not in labels
            is_ours = is_started and labels.get("app") not in self.never
            if meta["uid"] in self._known or change == "DELETED" or not is_ours:
                continue
            self._known.add(meta["uid"])
            self._free_at = max(self._free_at, time.monotonic()) + 1 / self.per_second
            task = asyncio.create_task(self._start(meta, self._free_at))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start(self, meta: Object, turn: float) -> None:
        await asyncio.sleep(turn + self.takes - time.monotonic())
        try:
            await self._client.patch(
                Pod.Status,
                meta["name"],
                {"status": pod_status(self._address)},
                namespace=meta["namespace"],
                patch_type=PatchType.MERGE,
            )
        except ApiError as error:
            if error.status.code != 404:  # scaled down meanwhile
                raise


def pod_status(address: str, *, ready: bool = True) -> dict[str, Any]:
    """The status of a pod that runs and is Ready, or is not, since now."""
    now = stamp(datetime.now(UTC).replace(microsecond=0))
    conditions = [
        {"type": kind, "status": str(is_so), "lastTransitionTime": now}
        for kinds, is_so in (
            (("PodScheduled", "Initialized"), True),
            (("ContainersReady", "Ready"), ready),
        )
        for kind in kinds
    ]
    addresses = {"podIP": address, "podIPs": [{"ip": address}]}
    return {"phase": "Running", **addresses, "conditions": conditions}


async def serve_metrics(address: str = "127.0.0.1") -> tuple[asyncio.Server, int]:
    """Serve the metrics page of all pods at once, for any request; the server and its port."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(PAGE)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(head + PAGE)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, address, 0, backlog=4096)
    return server, int(server.sockets[0].getsockname()[1])
