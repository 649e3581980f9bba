"""Whatever breaks in the middle of a transition: each of transition_faults.py, at a random moment.

`make soak` repeats each fifty times (see soak.py), `make test-all` those once that are not `long`.
"""

import uuid
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from e2e.conftest import cluster_ip, install_bare, start_app
from e2e.fault_pools import SPEC, FaultPools
from e2e.operators import Operators
from e2e.repetition import repeat_fault
from e2e.soak import ARENAS, REPEATS
from e2e.transition_faults import FAULTS
from e2e.watcher import NamespaceWatcher
from lightkube import AsyncClient

from kotatsu_node import Node
from kotatsu_operator.kube.client import Kube

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.nightly,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(4 * 3600),  # soak.py sees to it that it ends
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_fault_pools(on_node, make_namespace, bare, soak, tmp_path_factory):
    if not on_node:
        pytest.skip("killing parts of Kubernetes and of pods needs tools/node")
    async with AsyncExitStack() as stack:
        async with soak.turn():
            more = [install_bare(make_namespace("bare")) for _ in range(ARENAS - 1)]
            made = [
                await make_arena(stack, kubectl, make_namespace("leases"), tmp_path_factory)
                for kubectl in (bare, *more)
            ]
        yield made


async def make_arena(stack, kubectl, leases, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("fault-pools")
    client = AsyncClient(field_manager="e2e-fault-pools")
    stack.push_async_callback(client.close)
    watcher = NamespaceWatcher(Kube.connect("e2e-fault-pools"), kubectl.namespace)
    operators = Operators(kubectl.namespace, scratch / "operator.log")
    stack.push_async_callback(operators.end)
    fault_pools = FaultPools(
        kubectl=kubectl,
        client=client,
        watcher=await stack.enter_async_context(watcher),
        recorder=cluster_ip(kubectl, "recorder"),
        operators=operators,
        node=Node.open(),
        leases=leases.namespace,
        clock=scratch / "clock",
    )
    fault_pools.put_clock(0)
    await fault_pools.operate()
    fault_pools.busy, fault_pools.wide, fault_pools.quiet = [
        await start_app(
            kubectl,
            f"{name}-{uuid.uuid4().hex[:4]}",
            recorder=f"http://{fault_pools.recorder}",
            **SPEC,
            **more,
            idleAfter=idle_after,
            maxReplicas=3,
            requestsPerPod=10,
        )
        for name, idle_after, more in (
            ("busy", "60s", {}),
            ("wide", "60s", {}),
            ("quiet", "4s", {"parkedFor": "4s"}),
        )
    ]
    await fault_pools.watcher.sees(
        "ledgers", lambda: all("cost" in fault_pools.status(a) for a in fault_pools.apps), 60
    )
    for app in fault_pools.apps:
        fault_pools.audit(app)
    return fault_pools


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            id=fault.name.replace(" ", "-"),
            marks=[pytest.mark.alone] if fault.alone else [],
        )
        for fault in FAULTS
        if REPEATS > 1 or not fault.long
    ],
)
async def test_a_fault_in_the_middle_of_a_transition_loses_only_what_goes_with_it(
    fault, all_fault_pools, soak
):
    wrong = []
    for chance in soak.chances(fault.name, REPEATS):
        async with soak.turn(alone=fault.alone):
            outcomes = await repeat_fault(all_fault_pools, fault, chance)
        for outcome in outcomes:
            soak.add(fault.name, outcome)
            wrong += outcome.wrong
    assert not wrong, f"KOTATSU_SOAK_SEED={soak.seed}: {wrong}"
