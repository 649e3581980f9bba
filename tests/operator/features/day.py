"""A day of one pool with all optional features."""

from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from kotatsu_operator.features.calendars.feature import Calendars
from kotatsu_operator.features.capacity import CapacityOptions, Placeholders
from kotatsu_operator.features.history import Histories
from kotatsu_operator.features.knative.feature import Knative
from kotatsu_operator.features.notices.feature import Notices, Notifier
from kotatsu_operator.features.parking.feature import ParkedPods
from tests.operator.day import Day


@dataclass
class FeaturedDay(Day):
    """A day like those of the core, and what the features add to it."""

    capacity: CapacityOptions = field(default_factory=CapacityOptions)
    parking: bool = False
    notifier: object = None
    """Sends notices; without it, none are sent."""

    def features(self):
        """In the order of the entry points' names, without the console."""
        nobody = Notifier("", CollectorRegistry(), lambda: self.now)
        return [
            Calendars(Path(), (), self.registry, lambda: self.now),
            Placeholders(self.capacity),
            Histories(),
            Knative(),
            Notices(self.notifier or nobody),
            ParkedPods(is_enabled=self.parking),
        ]
