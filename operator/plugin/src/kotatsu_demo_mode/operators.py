"""Who watches a namespace: the operator's Deployment says which, and its Lease whether it acts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import count, instant, lasting, quantity, table, text
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import NO_PRICES, PLATFORM, Platform
from kotatsu_operator.core.protocol import INSTALL_LABEL, LEASE_NAME, UNINSTALL
from kotatsu_operator.core.scope import NEVER, Scope

from .checks.found import Objects, name_of, spec_of
from .checks.reader import Reader, labels_of
from .errors import DemoModeError, ForbiddenError, NotFoundError
from .installs import SELECTOR, Operator, home_of, scope_of, serves, serving, settings
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
    )


def watch_by_deployment(
    operators: Objects,
    namespace: str,
    labels: Mapping[str, str] | None = None,
    activators: str = "",
) -> Watch:
    """Which operator watches a namespace with these labels, and whether it has a Ready pod.

    `labels` is None if they may not be read. `activators` is the set that the status of a pool
    there names; empty if it names none.
    """
    operator = serving(operators.items, namespace, labels, activators)
    if operator:
        is_proven = scope_of(operator).has(activators)
        name, place = name_of(operator), home_of(operator)
        if count(table(operator.get("status")).get("readyReplicas")):
            return Watch(Standing.ACTS, _watches_it(operator), operator, is_proven)
        why = (
            f"the operator {place}/{name} has no Ready pod, so no window opens and no override "
            f"takes effect: see `kubectl describe deployment {name} -n {place}`"
        )
        return Watch(Standing.DOWN, why, operator, is_proven)
    if operators.unread:
        why = f"which operator watches {namespace}: {operators.unread}"
        return Watch(Standing.UNKNOWN, why, {})
    scopes = [(one, scope_of(one)) for one in operators.items]
    if any(serves(scope, namespace, labels) is None for _, scope in scopes):
        why = f"whether Kotatsu serves {namespace}: the labels of the namespace may not be read"
        return Watch(Standing.UNKNOWN, why, {})
    why, remedy = _why_not_served(scopes, namespace, (labels or {}).get(INSTALL_LABEL))
    message = f"namespace {namespace} is not served by Kotatsu ({why}): {remedy}"
    return Watch(Standing.ABSENT, message, {})


def _why_not_served(
    scopes: Sequence[tuple[Operator, Scope]], namespace: str, named: str | None
) -> tuple[str, str]:
    """Why no operator serves a namespace, whose label names an install, and what to do."""
    if not scopes:
        return "no operator runs in this cluster", "install the chart kotatsu"
    if namespace.startswith(NEVER):
        return "it is one of Kubernetes itself", "move the workload to another namespace"
    homes = sorted({scope.home for _, scope in scopes})
    if named is not None:
        why = f"its label `{INSTALL_LABEL}: {named}` names a namespace without an operator"
        return why, f"change it to {' or '.join(homes)}, or install the chart kotatsu in {named}"
    why, remedy = "installs serve only namespaces that are labeled for them", ""
    for operator, scope in scopes:
        if scope.unlabeled:
            given = settings(operator).get(SELECTOR)
            why = f"the namespaceSelector of {scope.text}, {given}, does not select it"
            remedy = ", or change the chart value `namespaceSelector`"
    return why, f"label it {' or '.join(f'`{INSTALL_LABEL}: {of}`' for of in homes)}{remedy}"


def _watches_it(operator: Mapping[str, Any]) -> str:
    version = text(table(operator["metadata"].get("labels")).get("app.kubernetes.io/version"))
    name = f"{home_of(operator)}/{name_of(operator)}"
    return f"the operator {name}{f' {version}' * bool(version)} watches it"


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
