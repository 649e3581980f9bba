"""The contract of optional features: what the reconciler shows them, and what they may add.

The reconciler calls the hooks of each feature in the order of a list, and knows none of them. The
list is what is installed: a distribution names a function of `Setup` by an entry point of the group
`FEATURES`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.accounts import NO_ACCOUNT, Account
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.namespaces import Namespaces
from kotatsu_operator.controller.scaled import Awaits, nothing_awaited, scaled
from kotatsu_operator.controller.target import Kinds, Refused, Target, Tools
from kotatsu_operator.core.budget.ledger import BilledPod, Ledger
from kotatsu_operator.core.budget.limit import Ends
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Key, Object
from kotatsu_operator.kube.views import PodView
from kotatsu_operator.runtime.installed import installed
from kotatsu_operator.runtime.settings import OperatorSettings

FEATURES = "kotatsu_operator.features"
"""The group of the entry points."""


@dataclass(frozen=True)
class Setup:
    """What features are made of."""

    settings: OperatorSettings
    registry: CollectorRegistry
    clock: Callable[[], datetime]


T = TypeVar("T")


@dataclass(frozen=True)
class Learned:
    """What this process remembers of a pool from one reconcile to the next: a value of each type.

    It counts once the status is written, and then all of it. What must outlive the process is in
    the status.
    """

    uid: str = ""
    """The uid of the pool: nothing is known of another one with its name."""
    at: timedelta | None = None
    """When, by a clock that is never set; None: nothing was learned yet."""
    values: Mapping[type, Any] = field(default_factory=dict)
    bills: Sequence[BilledPod] = ()
    """The deleted pods that it has seen: their pool's ledger needs them no more."""

    def of(self, kind: type[T]) -> T | None:
        """The value of a type."""
        return self.values.get(kind)

    def having(self, *values: object) -> "Learned":
        """The same with these values."""
        return replace(self, values={**self.values, **{type(value): value for value in values}})


NOTHING_LEARNED = Learned()


@dataclass(frozen=True)
class Turn:
    """One pool at one reconcile: what it is, and what is known of it."""

    pool: Object
    target: Target
    refused: Refused | None
    memory: Memory
    pods: list[PodView]
    conditions: Mapping[str, Mapping[str, Any]]
    """The conditions as the status has them, by type."""
    now: datetime
    further: Sequence[Status] = ()
    """Further conditions."""
    beside: Sequence[PodView] = ()
    """Further pods that the pool pays for, beside those of its target."""
    account: Account = NO_ACCOUNT
    """What it costs; set after the features have prepared the turn."""
    known: Learned = NOTHING_LEARNED
    """What the last reconcile of this process has learned."""
    learned: Learned = NOTHING_LEARNED
    """What this one has learned before its decision."""

    @property
    def elapsed(self) -> timedelta | None:
        """The measured time since the last reconcile; None if another process made it."""
        if self.known.at is None or self.learned.at is None:
            return None
        return max(self.learned.at - self.known.at, timedelta())

    @property
    def key(self) -> Key:
        return self.target.key

    @property
    def spec(self) -> PoolSpec:
        return self.target.spec

    @property
    def is_decided(self) -> bool:
        """Whether a decision is made for it; else only its books are kept."""
        refused = self.refused
        return refused is None or (
            refused.ends is not Ends.NOTHING and self.memory.since is not None
        )

    @property
    def status(self) -> Status:
        return self.pool.get("status") or {}

    @property
    def accepted(self) -> Mapping[str, Any]:
        """The condition Accepted as the status has it; empty if there is none."""
        return self.conditions.get("Accepted", {})


@dataclass(frozen=True)
class Report:
    """What a reconcile has decided, and what it reports."""

    seen: Observation
    decision: Decision
    ledger: Ledger
    status: Status
    """The fields to write, without the conditions."""
    notes: tuple[Note, ...]
    """The events to post."""
    learned: Learned = NOTHING_LEARNED
    """What counts once the status is written."""


@dataclass(frozen=True)
class After:
    """The result of what a feature has done after the status was written."""

    again: datetime | None = None
    """When to reconcile at the latest; None: when the decision says."""
    notes: tuple[Note, ...] = ()
    """Further events."""
    history: Object | None = None
    """The pool's WarmPoolHistory, if it was read or written: all features see it."""
    learned: Sequence[object] = ()
    """What is known now in place of what the report has learned."""


class Feature:
    """An optional part beside the core. A feature overrides the hooks that it needs.

    `prepare`, `observation` and `status` make no I/O. An error of a hook fails the reconcile, so
    `before` and `after` catch those of the API server that must not stop a decision.
    """

    kinds: Kinds = MappingProxyType({})
    """Further kinds of targets."""

    async def watch(
        self, _: Kube, _in: Namespaces, _cache: Cache, _touch: Callable[[Key], None]
    ) -> None:
        """Watch further objects until cancelled, also while another operator leads.

        In the scopes of the namespaces, and of those in use what `keeps` accepts.

        `touch` reconciles a pool. An error ends the operator.
        """
        await asyncio.Event().wait()

    def observe(self, key: Key, pool: Object | None) -> None:
        """Look at each version of a WarmPool, also while another operator leads.

        None when it is deleted.
        """

    def prepare(self, turn: Turn) -> Turn:
        """Add to what the costs and the decision of a pool depend on."""
        return turn

    def observation(self, _turn: Turn, seen: Observation) -> Observation:
        """Add to what the decision depends on."""
        return seen

    async def before(self, _tools: Tools, _turn: Turn, decision: Decision) -> Decision:
        """Act before the target does, and before the status is written.

        Returns the decision with what it has changed of its memory.
        """
        return decision

    def status(self, _turn: Turn, report: Report) -> Report:
        """Add to the status, to the events and to what is learned of a decision.

        The feature itself remembers nothing of it: its write may fail.
        """
        return report

    async def after(self, _tools: Tools, _turn: Turn, _report: Report) -> After | None:
        """Act once the status is written."""

    def see_history(self, key: Key, history: Object) -> None:
        """Look at the WarmPoolHistory of a pool."""

    async def run(self, touch: Callable[[Key], None]) -> None:
        """Work beside the reconciles while this operator leads; `touch` reconciles a pool."""

    def forget(self, key: Key) -> None:
        """Remove what is known of a deleted pool."""

    def reset(self) -> None:
        """Remove all state that gets outdated while another operator leads."""


def features_of(setup: Setup) -> list[Feature]:
    """The optional features that are installed, in the order of their hooks."""
    return [of(setup) for of in installed(FEATURES)]


def kinds_of(features: Iterable[Feature], awaits: Awaits = nothing_awaited) -> Kinds:
    """All kinds of targets: those with a scale, and what features bring."""
    brought = {name: kind for one in features for name, kind in one.kinds.items()}
    return {**scaled(awaits), **brought}
