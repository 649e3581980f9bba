"""The program of `helm test`: checks that an installed Kotatsu works.

An operator renews its Lease, WarmPools are served, and in each set an activator is Ready.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

from kotatsu_operator.core.protocol import ACTIVATOR_LABELS, HOME_LABEL, LEASE_NAME, SHARD_LABEL
from kotatsu_operator.kube.client import EVERYWHERE, Kube
from kotatsu_operator.kube.errors import NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Lease, Pod, WarmPool
from kotatsu_operator.kube.views import pod_view
from kotatsu_operator.runtime.settings import SmokeSettings, start

POLL = 1.0

_OPERATORS = "see the logs of the operator"


class Smoke:
    """The checks. Each returns what is wrong; an empty string if nothing is."""

    def __init__(self, kube: Kube, home: str, shards: int = 1, own: Iterable[str] = ()) -> None:
        """`own` are the namespaces with activators of their own."""
        self._kube, self._home = kube, home
        self._renewed: str | None = None
        self.checks: dict[str, Callable[[], Awaitable[str]]] = {
            "an operator leads": self._leads,
            "WarmPools are served": self._serves,
        }
        for shard in map(str, range(shards)):
            what = f"activator of shard {shard}"
            wakes = partial(self._wakes, what, home, {SHARD_LABEL: shard})
            self.checks[f"an {what} is Ready"] = wakes
        for namespace in own:
            what = f"activator of namespace {namespace}"
            wakes = partial(self._wakes, what, namespace, {HOME_LABEL: home})
            self.checks[f"an {what} is Ready"] = wakes

    async def _leads(self) -> str:
        try:
            lease = await self._kube.get(Lease, self._home, LEASE_NAME)
        except NotFoundError:
            return f"there is no Lease {LEASE_NAME}: {_OPERATORS}"
        spec = lease.get("spec") or {}
        if not spec.get("holderIdentity"):
            return f"no operator holds the Lease {LEASE_NAME}: {_OPERATORS}"
        before, self._renewed = self._renewed, str(spec.get("renewTime"))
        if before in (None, self._renewed):
            return f"{spec['holderIdentity']} does not renew its Lease: see its logs"
        return ""

    async def _serves(self) -> str:
        if await self._kube.serves(WarmPool, EVERYWHERE):
            return ""
        return "the CRD of WarmPools is not installed: `helm upgrade` of this release makes it"

    async def _wakes(self, what: str, namespace: str, of_set: Mapping[str, str]) -> str:
        found = await self._kube.find(Pod, namespace, {**ACTIVATOR_LABELS, **of_set})
        if any(pod.ready and not pod.terminating for pod in map(pod_view, found)):
            return ""
        labels = {"app.kubernetes.io/component": "activator", **of_set}
        of = ",".join(f"{label}={value}" for label, value in labels.items())
        return f"no {what} is Ready: see `kubectl get pods -n {namespace} -l {of}`"


async def run(
    checks: dict[str, Callable[[], Awaitable[str]]],
    patience: float,
    say: Callable[[str], None],
    poll: float = POLL,
) -> bool:
    """Try each check until it passes or `patience` seconds are over; return whether all passed."""
    wrong = {name: f"not checked: {name}" for name in checks}
    end = asyncio.get_running_loop().time() + patience
    while wrong and asyncio.get_running_loop().time() < end:
        for name in list(wrong):
            try:
                wrong[name] = await checks[name]()
            except Unreachable as error:
                wrong[name] = f"cannot ask the API server: {error}"
            if not wrong[name]:
                del wrong[name]
                say(f"ok: {name}")
        if wrong:
            await asyncio.sleep(poll)
    for why in dict.fromkeys(wrong.values()):
        say(f"FAILED: {why}")
    return not wrong


async def _run(settings: SmokeSettings) -> int:
    kube = Kube.connect("kotatsu-test")
    try:
        smoke = Smoke(kube, settings.pod_namespace, settings.shards, settings.own)
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
