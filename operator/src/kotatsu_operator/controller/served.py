"""The namespaces that an install serves, as the watch of Namespaces has shown them."""

from dataclasses import dataclass, field

from kotatsu_operator.core.decide.isolation import Shared
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.protocol import home_of
from kotatsu_operator.core.scope import Namespace, Scope
from kotatsu_operator.kube.objects import Object, key_of
from kotatsu_operator.kube.views import SliceView


@dataclass(frozen=True)
class Served:
    """What is known of them. The watches fill it."""

    scope: Scope
    known: dict[str, Namespace] = field(default_factory=dict)
    """All Namespaces of the cluster."""
    used: set[str] = field(default_factory=set)
    """Those of which all objects are kept."""
    homes: set[str] = field(default_factory=set)
    """Those of which the pods of activators are kept: with the homes of other installs that
    statuses of pools name. Everywhere else, anyone may give such labels to a pod."""

    def __post_init__(self) -> None:
        self.homes.update([self.scope.home], self.scope.own)

    def exists(self, namespace: str) -> bool:
        """Whether a namespace is there, and not being deleted."""
        found = self.known.get(namespace)
        return found is not None and not found.is_ending

    def serves(self, namespace: str) -> bool:
        """Whether the install serves a namespace."""
        return self.exists(namespace) and self.scope.serves(namespace, self.known[namespace].labels)

    def has(self, pool: Object) -> bool:
        """Whether a pool is this install's: its status says so, or names no install."""
        activators = activators_of(pool)
        return self.scope.has(activators) if activators else self.serves(key_of(pool)[0])

    def is_mine(self, pool: Object) -> bool:
        """Whether the install serves a pool, and no other one has it."""
        return self.serves(key_of(pool)[0]) and not self.other(pool)

    def other(self, pool: Object) -> str:
        """The namespace of the release of another install that has a pool; empty if none has."""
        home = home_of(activators_of(pool))
        return "" if home == self.scope.home else home

    def sweeps(self, of: SliceView) -> bool:
        """Whether this install removes a slice whose activator is gone."""
        return self.scope.has(of.set) or self.uses(of.key[0])

    def uses(self, namespace: str) -> bool:
        """Whether all objects of a namespace are kept."""
        return namespace in self.used

    def shared(self, namespace: str) -> Shared | None:
        """The activators that a namespace shares with others; None if it has its own."""
        if namespace in self.scope.own:
            return None
        home = self.scope.home
        of, there = self.known.get(home), self.known.get(namespace)
        return Shared(home, of.labels if of else {}, there is not None and there.shares)
