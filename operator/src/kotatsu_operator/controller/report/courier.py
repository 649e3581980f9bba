"""What the reconciler asks of the part that sends notices out of the cluster."""

from collections.abc import Collection, Sequence
from typing import Protocol

from kotatsu_operator.core.report.notices import Notice
from kotatsu_operator.kube.objects import Key


class Courier(Protocol):
    """Sends notices to receivers outside the cluster, and never makes a reconcile wait."""

    @property
    def is_on(self) -> bool:
        """Whether notices are sent at all; if not, none is stored in a status."""

    def delivered(self, key: Key) -> Collection[str]:
        """The ids of a pool's notices that need no further attempt."""

    def tell(self, key: Key, notices: Sequence[Notice]) -> None:
        """Send the notices of a pool's status; repetitions are ignored."""

    def forget(self, key: Key) -> None:
        """Remove all state of a deleted pool."""


class NoCourier:
    """For an operator without receivers."""

    is_on = False

    def delivered(self, key: Key) -> Collection[str]:  # noqa: ARG002
        """Return nothing."""
        return ()

    def tell(self, key: Key, notices: Sequence[Notice]) -> None:
        """Do nothing."""

    def forget(self, key: Key) -> None:
        """Do nothing."""
