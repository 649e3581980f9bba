"""Windows of a calendar in a ConfigMap: open warm, move with the file, stay when it breaks."""

from datetime import UTC, datetime, timedelta

import pytest
from e2e.conftest import add_recorder, install_platform, start_app
from e2e.kit import Kubectl, eventually, parse, wall

pytestmark = pytest.mark.e2e

KUBELET = 100.0
"""Seconds for a mounted ConfigMap to follow its edit: the kubelet's sync period, with a margin. A
change of the pod makes the kubelet look at once, so it takes seconds."""

OPERATOR = "app.kubernetes.io/name=kotatsu,app.kubernetes.io/component=operator"


@pytest.fixture(scope="module")
def followed(make_namespace) -> Kubectl:
    """A platform that follows the calendar `team`, which does not exist yet."""
    kubectl = make_namespace("calendar")
    calendar = ("name=team", "configMap=team", "key=team.ics")
    install_platform(kubectl, *(f"calendars[0].{setting}" for setting in calendar))
    add_recorder(kubectl)
    return kubectl


def write(kubectl, opens, closes, *, broken=False):
    """Put a calendar with one event into the ConfigMap."""
    times = (f"{name}:{at:%Y%m%dT%H%M%S}Z" for name, at in (("DTSTART", opens), ("DTEND", closes)))
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VEVENT", "UID:pitch@e2e", "SUMMARY:Pitch"]
    text = "\n".join([*lines, *times, "END:VEVENT", *([] if broken else ["END:VCALENDAR"]), ""])
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "team"}}
    kubectl.apply(config | {"data": {"team.ics": text}})
    written = f"calendar={datetime.now(UTC).timestamp()}"
    kubectl("annotate", "pod", "-l", OPERATOR, written, "--overwrite")


def starts(app):
    """When the windows of the calendar open, as the status has them."""
    (calendar,) = app.status().get("calendars") or [{}]
    return [window["start"] for window in calendar.get("windows") or ()]


async def test_an_event_opens_warm_moves_with_its_file_and_stays_when_the_file_breaks(followed):
    app = await start_app(
        followed,
        "calendar",
        scaling={"idleAfter": "10s"},
        calendars=[{"name": "team", "replicas": 2, "match": {"text": "pitch"}}],
    )
    await eventually(
        "the missing ConfigMap is said",
        lambda: "is not mounted" in app.conditions().get("CalendarFailed", {}).get("message", ""),
    )
    now = datetime.now(UTC).replace(microsecond=0)
    far = now + timedelta(hours=5)
    write(followed, far, far + timedelta(hours=1))
    await eventually("the window is known", lambda: starts(app) == [wall(far)], within=KUBELET)
    assert "CalendarFailed" not in app.conditions()
    await app.asleep()

    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=KUBELET + 45)
    closes = opens + timedelta(seconds=20)
    write(followed, opens, closes)
    await eventually("the window has moved", lambda: starts(app) == [wall(opens)], within=KUBELET)
    write(followed, opens, closes, broken=True)
    await eventually("both Ready", lambda: len(app.ready_pods()) == 2, within=KUBELET + 120)
    opening = await eventually(
        "opening recorded", lambda: (app.status().get("lastOpening") or {}).get("readyAt")
    )
    assert parse(opening) < opens
    assert app.status()["lastOpening"]["window"] == "pitch"
    await eventually("scale at 0", lambda: app.replicas() == 0, within=120)
    assert datetime.now(UTC) > closes
