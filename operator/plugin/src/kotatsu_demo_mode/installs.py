"""Which install serves a namespace, and by which activators: as the operators' Deployments say."""

from collections.abc import Mapping, Sequence
from typing import Any

from kotatsu_operator.core.claims import Claim, read_selector
from kotatsu_operator.core.formats import table, tables, text
from kotatsu_operator.core.protocol import ACTIVATOR_SELECTOR, SHARD_LABEL, shard_of

from .pools import pod_spec_of

NAMESPACES = "KOTATSU_NAMESPACES"
SELECTOR, SHARDS = "KOTATSU_NAMESPACE_SELECTOR", "KOTATSU_SHARDS"

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
    """The namespace of an operator, and of the activators that namespaces share."""
    return text(table(operator.get("metadata")).get("namespace"))


def is_shared(operator: Operator) -> bool:
    """Whether an install serves all namespaces that its selector selects."""
    given = settings(operator)
    return not given.get(NAMESPACES) and SELECTOR in given


def serves_what(operator: Operator) -> str:
    """What an operator serves, in words."""
    given = settings(operator)
    if not is_shared(operator):
        return ", ".join(given.get(NAMESPACES, "").split(","))
    return f"the namespaces that its namespaceSelector {given[SELECTOR]} selects"


def serves(operator: Operator, namespace: str, labels: Mapping[str, str] | None) -> bool | None:
    """Whether an operator serves a namespace with these labels; None if that is unknown.

    `labels` is None if they may not be read.
    """
    given = settings(operator)
    if not is_shared(operator):
        return namespace in given.get(NAMESPACES, "").split(",")
    try:
        selector = read_selector(given[SELECTOR])
    except ValueError:
        return None
    if selector and labels is None:
        return None
    return Claim(("", ""), selector=selector).selects(namespace, labels or {})


def serving(
    operators: Sequence[Operator], namespace: str, labels: Mapping[str, str] | None
) -> list[Operator]:
    """The operators that serve a namespace: those of it alone before those of many, by age."""
    mine = [one for one in operators if serves(one, namespace, labels)]
    return sorted(mine, key=lambda one: (is_shared(one), _since(one) if is_shared(one) else ""))


def _since(operator: Operator) -> str:
    return text(table(operator.get("metadata")).get("creationTimestamp"))


def activators_of(operator: Operator, namespace: str) -> tuple[str, str]:
    """Where the activators are that serve a namespace's pools, and the query of their list."""
    if not is_shared(operator):
        return namespace, ACTIVATOR_SELECTOR
    given = settings(operator).get(SHARDS, "")
    shards = int(given) if given.isascii() and given.isdigit() and len(given) < 4 else 1
    shard = shard_of(namespace, max(shards, 1))
    return home_of(operator), f"{ACTIVATOR_SELECTOR},{SHARD_LABEL}={shard}"
