"""Detects a watch of WarmPools that does not show all pools.

kopf discovers the resources once, at its start. If the CRD is created a moment later, kopf waits
forever without an error.
"""

from collections.abc import Set
from dataclasses import dataclass

BLIND_AFTER = 6
"""Comparisons, one sweep apart, in which the watch shows no further pool although some are missing.
This takes longer than the detection of a silent watch."""


class BlindError(Exception):
    """The watch of WarmPools does not show existing pools."""


@dataclass(frozen=True)
class MissedEvents:
    """The uids of a namespace's existing pools that the watch has not shown."""

    uids: Set[str] = frozenset()
    comparisons: int = 0
    """Consecutive comparisons in which the watch has shown none of them."""

    def after(self, unseen: Set[str]) -> "MissedEvents":
        """The state after another comparison, which has found `unseen`.

        kopf shows thousands of pools gradually, which may take minutes. So it is enough that one of
        the missing pools was shown since the last comparison.
        """
        if not unseen:
            return MissedEvents()
        return MissedEvents(unseen, self.comparisons + 1 if self.uids <= unseen else 1)

    @property
    def is_blind(self) -> bool:
        """Whether the watch has had enough time."""
        return self.comparisons >= BLIND_AFTER
