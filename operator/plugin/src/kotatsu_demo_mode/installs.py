"""Which install serves a namespace, by which activators, and whether its operator has a pod.

As the operators' Deployments say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from kotatsu_operator.core.formats import count, table, tables, text
from kotatsu_operator.core.protocol import (
    ACTIVATOR_SELECTOR,
    HOME_LABEL,
    INSTALL_LABEL,
    SHARD_LABEL,
)
from kotatsu_operator.core.scope import NEVER, Scope, read_selector

from .errors import DemoModeError
from .objects import Objects, name_of, pod_spec_of, spec_of

SELECTOR, UNLABELED = "KOTATSU_NAMESPACE_SELECTOR", "KOTATSU_SERVE_UNLABELED"
SHARDS, OWN = "KOTATSU_SHARDS", "KOTATSU_OWN"

Operator = Mapping[str, Any]
"""The Deployment of an operator."""


def settings(operator: object) -> dict[str, str]:
    """The environment of an operator's Deployment."""
    return {
        text(entry.get("name")): text(entry.get("value"))
        for container in tables(pod_spec_of(table(operator)).get("containers"))
        for entry in tables(container.get("env"))
    }


def home_of(operator: Operator) -> str:
    """The namespace of an operator, which names its install."""
    return text(table(operator.get("metadata")).get("namespace"))


def scope_of(operator: Operator) -> Scope:
    """The namespaces of an operator's install. One whose selector is invalid selects none."""
    given = settings(operator)
    is_unlabeled, shards = given.get(UNLABELED) != "false", given.get(SHARDS, "")
    try:
        selector = read_selector(given.get(SELECTOR) or "{}")
    except ValueError:
        selector, is_unlabeled = {}, False
    return Scope(
        home_of(operator),
        selector,
        is_unlabeled,
        max(int(shards), 1) if shards.isascii() and shards.isdigit() and len(shards) < 4 else 1,
        frozenset(given.get(OWN, "").split(",")) - {""},
    )


def serves(
    scope: Scope, namespace: str, labels: Mapping[str, str] | None, activators: str = ""
) -> bool | None:
    """Whether an install serves a namespace with these labels; None if that is unknown.

    If its labels may not be read (None), it is the install that has the `activators` of a pool
    there, and otherwise most likely one of all namespaces without a label.
    """
    if labels is not None or namespace.startswith(NEVER):
        return scope.serves(namespace, labels or {})
    return scope.has(activators) or (scope.unlabeled and not scope.selector) or None


def serving(
    operators: Iterable[Operator],
    namespace: str,
    labels: Mapping[str, str] | None,
    activators: str,
) -> Operator:
    """The operator that serves a namespace; empty if none does, or that is unknown.

    `activators` is the set that the status of a pool there names. It decides between several that
    may serve it: anyone who may create Deployments somewhere can label one as an operator.
    """
    mine = [one for one in operators if serves(scope_of(one), namespace, labels, activators)]
    return max(mine, key=lambda one: scope_of(one).has(activators), default={})


def is_own(activators: str) -> bool:
    """Whether a set of activators serves its own namespace alone."""
    return "/own/" in activators


def pods_of(activators: str) -> tuple[str, str]:
    """The namespace of the pods of a set of activators, and the query of their list."""
    home, *own, last = activators.split("/")
    if own:
        return last, f"{ACTIVATOR_SELECTOR},{HOME_LABEL}={home}"
    return home, f"{ACTIVATOR_SELECTOR},{SHARD_LABEL}={last}"


# --- whether an operator runs there ---


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
            return Watch(Standing.ACTS, watches_it(operator), operator, is_proven)
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


def watches_it(operator: Mapping[str, Any]) -> str:
    version = text(table(operator["metadata"].get("labels")).get("app.kubernetes.io/version"))
    name = f"{home_of(operator)}/{name_of(operator)}"
    return f"the operator {name}{f' {version}' * bool(version)} watches it"
