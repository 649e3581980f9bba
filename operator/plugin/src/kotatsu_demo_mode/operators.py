"""Who watches a namespace: the operator's Deployment says which, and its Lease whether it acts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.claims import NEVER
from kotatsu_operator.core.formats import amount, count, instant, quantity, table, text
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import NO_PRICES, PLATFORM, Platform
from kotatsu_operator.core.protocol import LEASE_NAME, UNINSTALL

from .checks.found import Objects, name_of, spec_of
from .checks.reader import Reader
from .errors import DemoModeError, ForbiddenError, NotFoundError
from .installs import home_of, is_shared, serves, serves_what, serving, settings
from .shell import Shell

if TYPE_CHECKING:
    from .api import Api
    from .pools import Pool

PRICES, ROUTE_SETTLE = "KOTATSU_PRICES", "KOTATSU_ROUTE_SETTLE"
PARKED_CPU = "KOTATSU_PARKED_CPU"

_MOST_PRICES = 64 * 2**10
"""Characters of a price table."""

_LONGEST = timedelta(seconds=10)
"""A leader renews its Lease every 2 s, the uninstall Job every 10 s."""

_STARTS = timedelta(seconds=60)
"""How long a command that waits gives an operator to start, as after `helm install`."""


class Standing(Enum):
    """What is known of the operator of a namespace."""

    ACTS = auto()
    UNKNOWN = auto()
    """It may not be read."""
    DOWN = auto()
    """It has no Ready pod."""
    STANDS_STILL = auto()
    """It has a Ready pod, and none renews the Lease."""
    LEAVES = auto()
    """The Job of `helm uninstall` has its Lease."""
    ABSENT = auto()
    """No operator watches the namespace."""


@dataclass(frozen=True)
class Watch:
    """Whether an operator acts in a namespace."""

    standing: Standing
    message: str
    """What is missing and what to do; of one that acts, which it is."""
    operator: Mapping[str, Any]
    """Its Deployment; empty if none is known."""
    is_proven: bool = False
    """Whether that is so by the status of a pool, which only an operator may write. Anyone who may
    create Deployments somewhere can label one as an operator."""

    @property
    def acts(self) -> bool:
        """Whether overrides and windows take effect, as far as that can be read."""
        return self.standing in (Standing.ACTS, Standing.UNKNOWN)

    @property
    def may_start(self) -> bool:
        """Whether it does not act, and may do so in a moment."""
        is_off = spec_of(self.operator).get("replicas") == 0
        return self.standing in (Standing.DOWN, Standing.STANDS_STILL) and not is_off

    def require(self, *, now: bool) -> None:
        """Raise DemoModeError if no operator acts: at all, or `now`."""
        if not self.acts and (now or not self.may_start):
            raise DemoModeError(self.message)


def platform_of(operator: object) -> Platform:
    """The values of the chart in an operator's Deployment; the defaults if it was not read."""
    given = settings(operator)
    prices, settle = given.get(PRICES, ""), amount(given.get(ROUTE_SETTLE))
    try:
        table_ = json.loads(prices, parse_float=str) if 0 < len(prices) <= _MOST_PRICES else {}
        read = parse_table(table(table_))
    except (SpecError, ValueError, RecursionError):
        read = NO_PRICES
    return Platform(
        PLATFORM.route_settle if settle is None else timedelta(seconds=float(settle)),
        quantity(given.get(PARKED_CPU, "")) or PLATFORM.parked_cpu,
        read,
    )


def not_served(namespace: str, why: str, *, is_there: bool = True) -> str:
    """The sentence about a namespace that Kotatsu does not serve; `is_there`: others it does."""
    what = "install the chart kotatsu"
    if is_there:
        what += ", or upgrade it, with this namespace in its value `namespaces`"
    return f"namespace {namespace} is not served by Kotatsu ({why}): {what}"


def _not_selected(namespace: str, why: str) -> str:
    """The sentence about a namespace that an install for the whole cluster leaves out."""
    return (
        f"namespace {namespace} is not served by Kotatsu ({why}): give the namespace these labels, "
        "or change the chart value `namespaceSelector`"
    )


def watch_by_deployment(
    operators: Objects, namespace: str, labels: Mapping[str, str] | None = None, home: str = ""
) -> Watch:
    """Which operator watches a namespace with these labels, and whether it has a Ready pod.

    `labels` is None if they may not be read. `home` is the namespace of the operator that the
    status of a pool there names; empty if it names none.
    """
    mine = serving(operators.items, namespace, labels)
    mine.sort(key=lambda one: home_of(one) != home)
    if mine:
        name, place = name_of(mine[0]), home_of(mine[0])
        is_proven = place == home
        if count(table(mine[0].get("status")).get("readyReplicas")):
            return Watch(Standing.ACTS, _watches_it(mine[0]), mine[0], is_proven)
        why = (
            f"the operator {place}/{name} has no Ready pod, so no window opens and no override "
            f"takes effect: see `kubectl describe deployment {name} -n {place}`"
        )
        return Watch(Standing.DOWN, why, mine[0], is_proven)
    if operators.unread:
        why = f"which operator watches {namespace}: {operators.unread}"
        return Watch(Standing.UNKNOWN, why, {})
    if any(serves(one, namespace, labels) is None for one in operators.items):
        why = f"whether a namespaceSelector selects {namespace}: its labels may not be read"
        return Watch(Standing.UNKNOWN, why, {})
    others = [f"{home_of(o)}/{name_of(o)}: {serves_what(o)}" for o in operators.items]
    why = "no operator runs in this cluster"
    if others:
        why = f"no operator watches it; {'; '.join(others)}"
    if any(map(is_shared, operators.items)) and not namespace.startswith(NEVER):
        return Watch(Standing.ABSENT, _not_selected(namespace, why), {})
    return Watch(Standing.ABSENT, not_served(namespace, why, is_there=bool(others)), {})


def _watches_it(operator: Mapping[str, Any]) -> str:
    version = text(table(operator["metadata"].get("labels")).get("app.kubernetes.io/version"))
    name = f"{home_of(operator)}/{name_of(operator)}"
    return f"the operator {name}{f' {version}' * bool(version)} watches it"


def watch(
    api: "Api",
    namespace: str,
    shell: Shell,
    holders: dict[str, str | None] | None = None,
    home: str = "",
) -> Watch:
    """Whether an operator acts in a namespace. Raises DemoModeError if the API does not answer.

    `holders` has the holders of Leases that were read, by namespace: several namespaces may have
    one operator. `home` is as in `watch_by_deployment`.
    """
    reader = Reader(api, namespace)
    operators = reader.operators()
    found = watch_by_deployment(operators, namespace, reader.labels(operators), home)
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
        return replace(found, standing=Standing.ACTS, message=_watches_it(found.operator))
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
    path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases/{LEASE_NAME}"
    first: Mapping[str, Any] | None = None
    while True:
        try:
            lease = table(api.get(path).get("spec"))
        except ForbiddenError:
            return None
        except NotFoundError:
            lease = {}
        holder, now, renewed = (
            text(lease.get("holderIdentity")),
            shell.clock(),
            lease.get("renewTime"),
        )
        first = lease if first is None else first
        at, lasts = instant(renewed), timedelta(seconds=count(lease.get("leaseDurationSeconds")))
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
    homes = {pool.namespace: activators_of(pool.raw).partition("/")[0] for pool in pools}
    for namespace, home in sorted(homes.items()):
        one = watch(api, namespace, shell, holders, home)
        while patient and one.may_start and shell.clock() < until:
            shell.terminal.progress(f"{namespace}: waiting for its operator to start")
            shell.sleep(1.0)
            one = watch(api, namespace, shell, home=home)
        found[namespace] = one
    return found
