"""Which install serves a namespace, and by which activators: as the operators' Deployments say."""

from collections.abc import Iterable, Mapping
from typing import Any

from kotatsu_operator.core.formats import table, tables, text
from kotatsu_operator.core.protocol import ACTIVATOR_SELECTOR, HOME_LABEL, SHARD_LABEL
from kotatsu_operator.core.scope import NEVER, Scope, read_selector

from .pools import pod_spec_of

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
