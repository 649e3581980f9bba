"""The operator as a process of the test's own, which a test kills, or which kills itself.

KOTATSU_E2E_LAST_WRITE describes the write after which it ends itself with KILL: "phase Draining"
for a status with that phase, "scale 0" for that number of replicas. KOTATSU_E2E_LEASES is the
namespace of the Lease, where it is not the one it looks after. KOTATSU_E2E_CLOCK is a file that
says by how many seconds its clock is wrong.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.app import Operator, Options
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Object


class Doomed(Kube):
    """Calls the API as the operator does, until it has written what it is to die of."""

    last_write = ""

    def guarded(self, may_write: Callable[[], bool]) -> Kube:
        guarded = Doomed(self._client, may_write)
        guarded.last_write = self.last_write
        return guarded

    async def put_scale(self, namespace: str, name: str, replicas: int, version: str) -> None:
        await super().put_scale(namespace, name, replicas, version)
        self._wrote(f"scale {replicas}")

    async def patch_status(
        self, namespace: str, name: str, status: Object, version: str | None = None
    ) -> Object:
        written = await super().patch_status(namespace, name, status, version)
        self._wrote(f"phase {status.get('phase')}")
        return written

    def _wrote(self, what: str) -> None:
        if what == self.last_write:
            os.kill(os.getpid(), signal.SIGKILL)


def clock() -> datetime:
    """The time, or what the file says is the time."""
    file = os.environ.get("KOTATSU_E2E_CLOCK")
    return datetime.now(UTC) + timedelta(seconds=float(Path(file).read_text()) if file else 0)


async def main(namespace: str) -> None:
    """Run until killed."""
    kube = Doomed.connect("e2e-operator")
    assert isinstance(kube, Doomed)
    kube.last_write = os.environ.get("KOTATSU_E2E_LAST_WRITE", "")
    leases = os.environ.get("KOTATSU_E2E_LEASES", namespace)
    options = Options(lease_namespace=leases, parking=True)
    operator = Operator(kube, [namespace], CollectorRegistry(), options, clock=clock)
    await operator.run()


logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
for chatty in ("httpx", "httpx2", "httpcore", "kopf"):
    logging.getLogger(chatty).setLevel(logging.WARNING)
asyncio.run(main(sys.argv[1]))
