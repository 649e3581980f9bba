"""Which namespaces an install serves, and which activators serve each of them. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import Object, is_selector, selector_view, selects
from kotatsu_operator.core.protocol import (
    INSTALL_LABEL,
    SETS_ANNOTATION,
    SHARED_ANNOTATION,
    home_of,
    own_set,
    shard_of,
    shared_set,
)

NEVER = "kube-"
"""Prefix of the namespaces of Kubernetes itself."""


def read_selector(given: str) -> Mapping[str, Any]:
    """A label selector, from JSON. Raises ValueError with a sentence for people."""
    try:
        read = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(read, Mapping) or read.keys() - {"matchLabels", "matchExpressions"}:
        raise ValueError('write it like {"matchLabels": {"team": "shop"}}')
    if not is_selector(read):
        raise ValueError("its terms are not those of a label selector of Kubernetes")
    return selector_view(read)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The relevant fields of a Namespace."""

    labels: Mapping[str, str]
    is_ending: bool
    """Whether it is being deleted: nothing can be created there any more."""
    shares: bool
    """Whether its owner accepts that requests come from activators that others share."""
    opts_out: bool = False
    """Whether its owner wants no pools of a WarmPoolSet."""


def opts_out(annotations: Mapping[str, Any]) -> bool:
    """Whether the owner of an object wants no pool of a WarmPoolSet for it."""
    return bool(annotations.get(SETS_ANNOTATION) == "off")


def namespace_of(obj: Object) -> Namespace:
    meta = table(obj.get("metadata"))
    notes = table(meta.get("annotations"))
    return Namespace(
        table(meta.get("labels")),
        is_ending=bool(meta.get("deletionTimestamp")),
        shares=notes.get(SHARED_ANNOTATION) == "true",
        opts_out=opts_out(notes),
    )


@dataclass(frozen=True)
class Scope:
    """The namespaces of an install.

    A label on a Namespace names the install that serves it. The others belong to one install, the
    only one with `unlabeled`, if its selector selects them.
    """

    home: str
    """The namespace of the release, which names the install: its Lease and its record are there."""
    selector: Mapping[str, Any] = field(default_factory=dict)
    """A label selector of namespaces without the label."""
    unlabeled: bool = True
    """Whether it serves namespaces without the label."""
    shards: int = 1
    """Deployments of activators that namespaces share."""
    own: frozenset[str] = frozenset()
    """Namespaces with activators of their own."""

    @property
    def text(self) -> str:
        """Which install this is."""
        return install_text(self.home)

    def serves(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a namespace with these labels is served."""
        if namespace.startswith(NEVER):
            return False
        if (named := labels.get(INSTALL_LABEL)) is not None:
            return named == self.home
        return self.unlabeled and selects(self.selector, labels)

    def set_of(self, namespace: str) -> str:
        """The set of activators that serves a namespace's pools."""
        if namespace in self.own:
            return own_set(self.home, namespace)
        return shared_set(self.home, shard_of(namespace, self.shards))

    def has(self, activators: str) -> bool:
        """Whether a set of activators is this install's."""
        return home_of(activators) == self.home


def install_text(home: str) -> str:
    """An install in words."""
    return f"the Kotatsu of namespace {home}"
