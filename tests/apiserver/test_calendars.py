"""Windows of a calendar in a ConfigMap: open warm, move with the file, stay when it breaks."""

import asyncio
from datetime import UTC, timedelta

import pytest
from apiserver.conftest import install_platform, start_app
from apiserver.kit import eventually
from apiserver.programs import Ahead
from e2e.kit import parse

from kotatsu_operator.features.calendars import feature

pytestmark = pytest.mark.apiserver

LEAD = timedelta(seconds=30)


@pytest.fixture(scope="module")
def clock():
    return Ahead()


@pytest.fixture(scope="module")
def followed(make_namespace, clock):
    """A platform that follows the calendar `team`, which does not exist yet."""
    kubectl = make_namespace("calendar", clock)
    calendar = ("name=team", "configMap=team", "key=team.ics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature, "EVERY", 0.1)
        asyncio.run(install_platform(kubectl, *(f"calendars[0].{setting}" for setting in calendar)))
        yield kubectl


def write(kubectl, opens, closes, *, broken=False):
    """Put a calendar with one event into the ConfigMap."""
    times = (f"{name}:{at:%Y%m%dT%H%M%S}Z" for name, at in (("DTSTART", opens), ("DTEND", closes)))
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VEVENT", "UID:pitch@test", "SUMMARY:Pitch"]
    text = "\n".join([*lines, *times, "END:VEVENT", *([] if broken else ["END:VCALENDAR"]), ""])
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "team"}}
    kubectl.apply(config | {"data": {"team.ics": text}})


def starts(app):
    """When the windows of the calendar open, in UTC. The status leaves out seconds that are 0."""
    (calendar,) = app.inner().get("calendars") or [{}]
    return [parse(start).replace(tzinfo=UTC) for _, _, start, _ in calendar.get("windows") or ()]


def failure(app):
    """What is wrong with the calendar, as the status says it."""
    found = app.failed("CalendarsRead")
    return "" if found is None else found["message"]


async def considered(app):
    """Wait until the operator has decided about a pool at what its clock says now."""
    generation = app.pool()["metadata"]["generation"]
    app.kubectl.patch("warmpool", app.name, {"spec": {"holdTimeout": f"{generation}s"}})
    await eventually("considered", lambda: app.status()["observedGeneration"] > generation)


async def test_an_event_opens_warm_moves_with_its_file_and_stays_when_the_file_breaks(
    followed, clock
):
    app = await start_app(
        followed,
        "calendar",
        idleAfter="1s",
        lead="30s",
        calendars=[{"name": "team", "replicas": 2, "match": "pitch"}],
    )
    await eventually("the missing file is said", lambda: "is not mounted" in failure(app))
    now = clock().replace(microsecond=0)
    first, opens = now + timedelta(hours=1), now + timedelta(hours=5)
    closes = opens + timedelta(hours=1)
    write(followed, first, first + timedelta(hours=1))
    await eventually("the window is known", lambda: starts(app) == [first])
    assert failure(app) == ""
    await app.asleep()

    write(followed, opens, closes)
    await eventually("the window has moved", lambda: starts(app) == [opens])
    write(followed, opens, closes, broken=True)
    await eventually("the broken file is said", lambda: "correct it" in failure(app))
    clock.reach(first + timedelta(minutes=1))
    await considered(app)
    assert (app.phase(), app.replicas()) == ("Asleep", 0)
    clock.reach(opens - LEAD + timedelta(seconds=1))
    await eventually("both Ready", lambda: len(app.ready_pods()) == 2)
    opening = await eventually("the opening", lambda: app.status().get("lastOpening"))
    assert opening["window"] == "pitch"
    await eventually("Ready", lambda: app.status()["lastOpening"].get("early"))
    assert parse(app.inner()["opening"]["readyAt"]) < opens

    clock.reach(closes - timedelta(seconds=10))
    await considered(app)
    assert app.replicas() == 2
    clock.reach(closes)
    await app.asleep()
