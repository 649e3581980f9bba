"""The operator as a process of the test's own, which a test kills, or which kills itself.

KOTATSU_E2E_LAST_WRITE describes the write after which it ends itself with KILL: "phase Draining"
for a status with that phase, "scale 0" for that number of replicas. KOTATSU_E2E_LEASES is the
namespace of the Lease, where it is not the one it looks after.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from kotatsu_operator.kube import Kube, Object
from kotatsu_operator.operator import Operator


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


async def main(namespace: str) -> None:
    """Run until killed."""
    kube = Doomed.connect("e2e-operator")
    assert isinstance(kube, Doomed)
    kube.last_write = os.environ.get("KOTATSU_E2E_LAST_WRITE", "")
    leases = os.environ.get("KOTATSU_E2E_LEASES", namespace)
    await Operator(kube, [namespace], CollectorRegistry(), lease_namespace=leases).run()


asyncio.run(main(sys.argv[1]))
