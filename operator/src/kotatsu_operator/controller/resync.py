"""Whether the watch of WarmPools shows what is there.

kopf asks once, as it begins, which resources there are: where the CRD came a moment later, it would
wait for ever, and everything looks well.
"""

from collections.abc import Set
from dataclasses import dataclass

BLIND_AFTER = 6
"""In how many comparisons, one sweep apart, there may be pools and the watch shows not one more of
them: for longer than it takes to notice a watch that went silent."""


class BlindError(Exception):
    """The watch of WarmPools does not show what is there."""


@dataclass(frozen=True)
class MissedEvents:
    """The pools of a namespace that are there and have not been shown, by uid."""

    uids: Set[str] = frozenset()
    comparisons: int = 0
    """In so many, one after the other, none of them has been shown."""

    def after(self, unseen: Set[str]) -> "MissedEvents":
        """What is known after another comparison, which has found these.

        Thousands are shown little by little, and that may take minutes: it is enough that there
        are fewer of those from before.
        """
        if not unseen:
            return MissedEvents()
        return MissedEvents(unseen, self.comparisons + 1 if self.uids <= unseen else 1)

    @property
    def is_blind(self) -> bool:
        """Whether the watch has had its time."""
        return self.comparisons >= BLIND_AFTER
