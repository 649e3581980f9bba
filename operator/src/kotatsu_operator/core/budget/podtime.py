"""Pod time, and the price of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from kotatsu_operator.core.budget.ledger import Ledger, money

_NOTHING = timedelta()


@dataclass(frozen=True, slots=True)
class PodTime:
    """Pods times their time, by what they request."""

    warm: timedelta = _NOTHING
    parked: timedelta = _NOTHING

    def __add__(self, other: "PodTime") -> "PodTime":
        return PodTime(self.warm + other.warm, self.parked + other.parked)

    def __mul__(self, share: float) -> "PodTime":
        return PodTime(self.warm * share, self.parked * share)


class Stretch(NamedTuple):
    """A time with the same number of pods."""

    begin: datetime
    end: datetime
    replicas: int = 0
    is_parked: bool = False

    @property
    def time(self) -> PodTime:
        """Pods times their time."""
        time = self.replicas * (self.end - self.begin)
        return PodTime(parked=time) if self.is_parked else PodTime(time)


class PodPrice(NamedTuple):
    """The price of one hour of a pod."""

    warm: Decimal
    parked: Decimal | None = None
    """None if the pods are never parked: the pool sleeps when it is idle, and its windows with
    mode Parked are warm."""

    def of(self, time: PodTime) -> Decimal:
        """The price of some pod time."""
        cost = money(self.warm, time.warm)
        return cost if self.parked is None else cost + money(self.parked, time.parked)


def pod_price(ledger: Ledger, full: Decimal, parked: Decimal | None, reduced: int) -> PodPrice:
    """The prices of a pod, from those of the target's template and the rate of the current pods.

    Pods may request more than their template, by an injected sidecar: that is never reduced.
    `reduced` is how many of the pods are.
    """
    pods, more = len(ledger.pods), Decimal(0)
    if pods:
        saved = Decimal(0) if parked is None else min(reduced, pods) * (full - parked)
        more = (ledger.rate + saved) / pods - full
    return PodPrice(full + more, None if parked is None else max(parked + more, Decimal(0)))
