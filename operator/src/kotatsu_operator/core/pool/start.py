"""Where the time of a warm-up went, from what the kubelet and the scheduler write on a pod."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class PodStart:
    """The times of one pod's start, in whole seconds; None for what has not happened."""

    scheduled_at: datetime | None = None
    """The condition PodScheduled: it has a node."""
    sandbox_at: datetime | None = None
    """The condition PodReadyToStartContainers: its volumes are mounted and it has a network."""
    started_at: datetime | None = None
    """When the last of its containers first ran: init containers have ended, images are there."""
    ready_at: datetime | None = None
    """The condition Ready."""
    no_node: str = ""
    """Why the scheduler finds no node for it; empty if it found one, or has not looked yet."""


NOT_STARTED = PodStart()


@dataclass(frozen=True)
class Parts:
    """The seconds of a warm-up by what they were spent on. Together they are the warm-up."""

    node: float
    """From the decision until the pod has a node."""
    sandbox: float
    """Volumes and network."""
    pull: float
    """Images, and init containers if there are any."""
    start: float
    """From the start of the containers until the operator sees the pod Ready."""


@dataclass(frozen=True)
class Starting:
    """The pods of a warm-up in progress."""

    last: PodStart | None = None
    """The Ready pod that became Ready last: the warm-up lasted as long as it."""
    waiting: int = 0
    """Pods for which the scheduler finds no node."""
    no_node: str = ""
    """The scheduler's message about one of them."""


NOTHING_STARTS = Starting()


def starting(ready: Iterable[PodStart], others: Iterable[PodStart]) -> Starting:
    """Sum up the pods of a warm-up: those that are Ready, and those that are not."""
    times = [start for start in ready if start.ready_at is not None]
    waits = [start.no_node for start in others if start.no_node]
    last = max(times, key=lambda s: s.ready_at, default=None)  # type: ignore[arg-type,return-value]
    return Starting(last, len(waits), min(waits, default=""))


def parts_of(start: PodStart, began: datetime, ended: datetime) -> Parts:
    """Divide the time from `began` to `ended` at the times of a pod's start.

    The pod's times come from other clocks and have no fractions, so each is moved between the one
    before it and the end. A missing time takes no part.
    """
    marks = [began]
    for at in (start.scheduled_at, start.sandbox_at, start.started_at):
        marks.append(marks[-1] if at is None else min(max(at, marks[-1]), max(ended, began)))
    marks.append(max(ended, began))
    node, sandbox, pull, rest = (
        (after - before).total_seconds() for before, after in pairwise(marks)
    )
    return Parts(node, sandbox, pull, rest)
