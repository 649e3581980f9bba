"""A deleted pool's target gets back what it was found with, and never what a pool has set."""

import pytest
from rows import each

from kotatsu_operator.core.report.record import entry_of
from tests.operator.core.values import once, override, t
from tests.operator.day import Day

OPEN = once("pitch", "09:00", "10:05", 5)


async def owed(day, end="10:15"):
    """What the target gets back once the pool has slept."""
    await day.until(t(end))
    assert day.replicas == 0
    return entry_of(day.kube.stored("WarmPool", "voice")).owed["foundReplicas"]


WINDOW = {"windows": [OPEN]}
ASKED = {"override": override("Warm", t("10:05"), replicas=5)}


@each("found, spec", [(0, WINDOW), (1, WINDOW), (2, WINDOW), (1, ASKED)])
async def test_what_a_window_or_an_override_has_asked_for_is_not_given_back(found, spec):
    day = await Day.lived("10:00", "10:04", replicas=found, ready=True, **spec)
    assert day.replicas == 5
    assert await owed(day) == found


async def test_a_crash_right_after_the_raise_forgets_nothing():
    day = Day.begin(t("10:00"), replicas=1, ready=True, windows=[OPEN])
    day.kube.on("put_scale", OSError("the operator is killed"))
    with pytest.raises(OSError, match="killed"):
        await day.look()
    day.kube.on("put_scale", None)
    day.kube.edit("Deployment", "voice", spec={"replicas": 5})
    day.restart()
    assert await owed(day) == 1


async def test_what_a_person_has_scaled_later_is_not_given_back():
    day = await Day.lived("10:00", replicas=2, ready=True)
    day.kube.edit("Deployment", "voice", spec={"replicas": 7})
    assert await owed(day) == 2
