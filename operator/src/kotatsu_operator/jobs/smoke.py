"""The program of `helm test`: checks that an installed Kotatsu works.

In each namespace WarmPools are served and an activator is Ready, and an operator renews its Lease.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, LEASE_NAME
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Lease, Pod, WarmPool
from kotatsu_operator.kube.views import pod_view
from kotatsu_operator.runtime.settings import SmokeSettings, start

POLL = 1.0


class Smoke:
    """The checks. Each returns what is wrong; an empty string if nothing is."""

    def __init__(self, kube: Kube, namespaces: Iterable[str], lease_namespace: str) -> None:
        self._kube, self._lease_namespace = kube, lease_namespace
        self._renewed: str | None = None
        self.checks: dict[str, Callable[[], Awaitable[str]]] = {"an operator leads": self._leads}
        for namespace in namespaces:
            self.checks[f"{namespace}: WarmPools are served"] = partial(self._serves, namespace)
            self.checks[f"{namespace}: an activator is Ready"] = partial(self._wakes, namespace)

    async def _leads(self) -> str:
        try:
            lease = await self._kube.get(Lease, self._lease_namespace, LEASE_NAME)
        except NotFoundError:
            return f"there is no Lease {LEASE_NAME}: see the logs of the operator"
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return f"nobody holds the Lease {LEASE_NAME}: see the logs of the operator"
        before, self._renewed = self._renewed, str(spec.get("renewTime"))
        if before in (None, self._renewed):
            return f"{spec['holderIdentity']} does not renew its Lease: see its logs"
        return ""

    async def _serves(self, namespace: str) -> str:
        if await self._kube.serves(WarmPool, namespace):
            return ""
        return "the CRD is not installed: kubectl apply --server-side -f crds/"

    async def _wakes(self, namespace: str) -> str:
        pods = map(pod_view, await self._kube.find(Pod, namespace, ACTIVATOR_LABELS))
        if any(pod.ready and not pod.terminating for pod in pods):
            return ""
        return f"see kubectl get pods -n {namespace} -l app.kubernetes.io/component=activator"


async def run(
    checks: dict[str, Callable[[], Awaitable[str]]],
    patience: float,
    say: Callable[[str], None],
    poll: float = POLL,
) -> bool:
    """Try each check until it passes or `patience` seconds are over; return whether all passed."""
    wrong = dict.fromkeys(checks, "not checked")
    end = asyncio.get_running_loop().time() + patience
    while wrong and asyncio.get_running_loop().time() < end:
        for name in list(wrong):
            try:
                wrong[name] = await checks[name]()
            except Unreachable as error:
                wrong[name] = f"the API server: {error}"
            if not wrong[name]:
                del wrong[name]
                say(f"ok: {name}")
        if wrong:
            await asyncio.sleep(poll)
    for name, why in wrong.items():
        say(f"FAILED: {name}: {why}")
    return not wrong


async def _run(settings: SmokeSettings) -> int:
    kube = Kube.connect("kotatsu-test")
    try:
        smoke = Smoke(kube, settings.namespaces, settings.pod_namespace)
        passed = await run(smoke.checks, settings.timeout, partial(print, flush=True))
    finally:
        await kube.close()
    return 0 if passed else 1


def main() -> int:
    """Read the settings from the environment and run; return the exit status."""
    settings = start(
        SmokeSettings,
        "python -m kotatsu_operator.jobs.smoke",
        "Checks that an installed Kotatsu works.",
    )
    return asyncio.run(_run(settings))


if __name__ == "__main__":
    sys.exit(main())
