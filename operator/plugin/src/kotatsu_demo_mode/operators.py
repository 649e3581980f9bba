"""Who watches a namespace: the operator's Deployment says which, and its Lease whether it acts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import count, instant, lasting, quantity, table, text
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import NO_PRICES, PLATFORM, Platform
from kotatsu_operator.core.protocol import LEASE_NAME, UNINSTALL

from .checks.reader import Reader
from .errors import ForbiddenError, NotFoundError
from .installs import Standing, Watch, home_of, settings, watch_by_deployment, watches_it
from .objects import labels_of, name_of, path_of
from .shell import Shell

if TYPE_CHECKING:
    from .api import Api
    from .pools import Pool

PRICES, ROUTE_SETTLE = "KOTATSU_PRICES", "KOTATSU_ROUTE_SETTLE"
PARKED_CPU, PATCH_SERVICES = "KOTATSU_PARKED_CPU", "KOTATSU_PATCH_SERVICES"

_MOST_PRICES = 64 * 2**10
"""Characters of a price table."""

_LONGEST = timedelta(seconds=10)
"""A leader renews its Lease every 2 s, the uninstall Job every 10 s."""

_STARTS = timedelta(seconds=60)
"""How long a command that waits gives an operator to start, as after `helm install`."""


def platform_of(operator: object) -> Platform:
    """The values of the chart in an operator's Deployment; the defaults if it was not read."""
    given = settings(operator)
    prices = given.get(PRICES, "")
    try:
        table_ = json.loads(prices, parse_float=str) if 0 < len(prices) <= _MOST_PRICES else {}
        read = parse_table(table(table_))
    except (SpecError, ValueError, RecursionError):
        read = NO_PRICES
    return Platform(
        lasting(given.get(ROUTE_SETTLE), PLATFORM.route_settle),
        quantity(given.get(PARKED_CPU, "")) or PLATFORM.parked_cpu,
        read,
        given.get(PATCH_SERVICES) != "false",
    )


def watch(
    api: "Api",
    namespace: str,
    shell: Shell,
    holders: dict[str, str | None] | None = None,
    activators: str = "",
) -> Watch:
    """Whether an operator acts in a namespace. Raises DemoModeError if the API does not answer.

    `holders` has the holders of Leases that were read, by namespace: several namespaces may have
    one operator. `activators` is as in `watch_by_deployment`.
    """
    reader = Reader(api, namespace)
    operators = reader.operators()
    found = watch_by_deployment(operators, namespace, labels_of(reader.of(namespace)), activators)
    if not found.operator:
        return found
    place, name = home_of(found.operator), name_of(found.operator)
    holders = {} if holders is None else holders
    if place not in holders:
        shell.terminal.progress(f"reading the Lease of {place}/{name}")
        patient = found.standing is Standing.ACTS
        holders[place] = _holder(api, place, shell, patient=patient)
        shell.terminal.clear()
    holder = holders[place]
    if holder == UNINSTALL:
        why = (
            f"the operator {place}/{name} stands by while Kotatsu is uninstalled: see `kubectl get "
            f"jobs -n {place}`"
        )
        return replace(found, standing=Standing.LEAVES, message=why)
    if holder:
        return replace(found, standing=Standing.ACTS, message=watches_it(found.operator))
    if holder is None or found.standing is Standing.DOWN:
        return found
    why = (
        f"the operator {place}/{name} does not renew its Lease, so no window opens and no override "
        f"takes effect: see `kubectl logs deployment/{name} -n {place}`"
    )
    return replace(found, standing=Standing.STANDS_STILL, message=why)


def _holder(api: "Api", namespace: str, shell: Shell, *, patient: bool) -> str | None:
    """Who renews the Lease: empty for nobody, None if it may not be read.

    Two machines' clocks may differ. So a time that looks old says nothing yet: if `patient`, the
    Lease is read until it changes.
    """
    begin = shell.clock()
    path = path_of("coordination.k8s.io/v1", "leases", namespace, LEASE_NAME)
    first: Mapping[str, Any] | None = None
    while True:
        try:
            lease = table(api.get(path).get("spec"))
        except ForbiddenError:
            return None
        except NotFoundError:
            lease = {}
        holder, now = text(lease.get("holderIdentity")), shell.clock()
        first = lease if first is None else first
        at = instant(lease.get("renewTime"))
        lasts = timedelta(seconds=count(lease.get("leaseDurationSeconds")))
        if holder and (lease != first or (at is not None and abs(now - at) < lasts)):
            return holder
        if not patient or now - begin > _LONGEST:
            return ""
        shell.sleep(1.0)


def watches(
    api: "Api", pools: Iterable["Pool"], shell: Shell, *, patient: bool = False
) -> dict[str, Watch]:
    """The operators of the pools' namespaces; `patient` gives one time to start."""
    found, holders = {}, dict[str, str | None]()
    until = shell.clock() + _STARTS
    sets = dict[str, str]()
    for pool in pools:
        sets[pool.namespace] = activators_of(pool.raw) or sets.get(pool.namespace, "")
    for namespace, activators in sorted(sets.items()):
        one = watch(api, namespace, shell, holders, activators)
        while patient and one.may_start and shell.clock() < until:
            shell.terminal.progress(f"{namespace}: waiting for its operator to start")
            shell.sleep(1.0)
            one = watch(api, namespace, shell, activators=activators)
        found[namespace] = one
    return found
