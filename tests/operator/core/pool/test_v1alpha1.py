"""From v1alpha1 to v1beta1: every spec that was accepted is, and every value survives."""

import json
from collections.abc import Iterator
from typing import Any

from chart.kit import ROOT, load_yaml
from fuzz.schema import values
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_demo_mode.schema import _faults, defaulted, faults, spec_schema
from kotatsu_operator.core.pool.v1alpha1 import (
    FORMER,
    SUCCESSORS,
    fingerprint,
    leftovers,
    spec_from,
    status_from,
)
from kotatsu_operator.core.protocol import BY_ANNOTATION, IMPORTED_ANNOTATION, REASON_ANNOTATION

(FILE,) = load_yaml((ROOT / "tests/apiserver/v1alpha1.yaml").read_text())
SCHEMA = FILE["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
TARGET = {"targetRef": {"name": "web"}}


def converted(**spec: Any) -> dict[str, Any]:
    """What is made of these fields."""
    made = spec_from(TARGET | spec).spec
    assert made.pop("targetRef") == TARGET["targetRef"]
    return made


def notes(**spec: Any) -> tuple[str, ...]:
    return spec_from(TARGET | spec).notes


def test_fields_of_groups_are_fields_of_the_spec():
    assert converted(
        prewarm={"lead": "2m", "capacityAhead": "10m"},
        scaling={"maxReplicas": 7, "idleAfter": "1m"},
        wake={"holdTimeout": "30s", "ignorePaths": ["/up"]},
        drain={"timeout": "5s"},
    ) == {
        "lead": "2m", "capacityAhead": "10m", "maxReplicas": 7, "idleAfter": "1m",
        "holdTimeout": "30s", "ignorePaths": ["/up"], "drainTimeout": "5s",
    }  # fmt: skip


@each("spec, made", {
    "a learned lead is an absent one": ({"prewarm": {"lead": "auto"}}, {}),
    "the default page is a waiting one": ({"wake": {"page": "default"}}, {"waitingPage": True}),
    "a pool that parks says for how long": ({"parked": {}}, {"parkedFor": "1h"}),
    "also if it is no time": (
        {"parked": {"for": "0s", "replicas": 3}}, {"parkedFor": "0s", "parkedReplicas": 3}),
})  # fmt: skip
def test_some_values_are_said_in_another_way(spec, made):
    assert converted(**spec) == made


def test_a_calendar_that_closes_days_is_one_of_the_calendars():
    team = {"name": "team", "replicas": 2}
    closed = [{"name": name, "mode": "Closed"} for name in ("team", "holidays")]

    made = converted(calendars=[team], closedOn=["team", "holidays"])

    assert made["calendars"] == [team, *closed]


@each("match, text", [
    ({"text": "pitch"}, {"match": "pitch"}),
    ({"category": "demo"}, {"match": "demo"}),
    ({"text": "pitch", "category": "demo"}, {"match": "pitch"}),
    ({}, {}),
])  # fmt: skip
def test_a_calendar_matches_one_text(match, text):
    use = {"name": "team", "replicas": 2}

    assert converted(calendars=[use | {"match": match}])["calendars"] == [use | text]


def test_who_set_an_override_is_in_annotations():
    override = {"mode": "Warm", "until": "2030-01-01T00:00:00Z"}

    made = spec_from(TARGET | {"override": override | {"by": "ann", "reason": "pitch"}})

    assert made.spec["override"] == override
    assert made.annotations == {BY_ANNOTATION: "ann", REASON_ANNOTATION: "pitch"}


def test_the_event_of_an_imported_window_is_in_an_annotation():
    window = {"name": "talk", "replicas": 1}
    event = {"calendar": "team", "uid": "1@x"}

    made = spec_from(TARGET | {"windows": [window | {"from": event}, {"name": "own"}]})

    assert made.spec["windows"] == [window, {"name": "own"}]
    assert made.annotations == {
        "kotatsu.dev/imported": '{"talk": {"calendar": "team", "uid": "1@x"}}'
    }


def test_what_has_no_place_is_named_with_what_to_do():
    said = notes(
        wake={"maxHeld": 50},
        drain={"routeSettle": "1s"},
        parked={"requests": {"cpu": "10m", "memory": "64Mi"}},
        metrics={"lastRequestName": "mine"},
        budget={"currency": "JPY", "prices": {"cpuHour": "6.5"}, "group": "team"},
        calendars=[{"name": "team", "replicas": 1, "match": {"text": "a", "category": "b"}}],
    )

    assert [line.partition(": ")[0] for line in said] == [
        "spec.wake.maxHeld", "spec.drain.routeSettle", "spec.parked.requests.cpu",
        "spec.parked.requests.memory", "spec.metrics.lastRequestName", "spec.budget.currency",
        "spec.budget.prices", "spec.budget.group", "spec.calendars[team].match.category",
    ]  # fmt: skip


def test_defaults_that_have_no_place_need_no_word():
    assert not notes(wake={"maxHeld": 1000}, drain={"routeSettle": "5s"}, parked={"for": "1h"})


def accepted(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec that fits the schema, changed so that the rules of v1alpha1 accept it."""
    spec["targetRef"] = TARGET["targetRef"]
    spec.setdefault("scaling", {})["maxReplicas"] = 10_000
    windows = spec.get("windows", [])
    for window in windows:
        if "schedule" in window:
            window.pop("start", None)
            window.pop("end", None)
            window["duration"] = "90m"
        else:
            window |= {"start": "2030-01-01T10:00", "end": "2030-01-01T11:00"}
            window.pop("duration", None)
            window.pop("excludeDates", None)
    if "parked" not in spec:
        for part in (*windows, *spec.get("calendars", [])):
            part.pop("mode", None)
    if override := spec.get("override"):
        override["until"] = "2030-01-01T00:00:00Z"
        if override["mode"] == "Asleep":
            override.pop("replicas", None)
    return defaulted(_once(spec), SCHEMA["spec"])


def _once(value: Any) -> Any:
    """A value whose lists of words have each word once."""
    if isinstance(value, dict):
        return {name: _once(inner) for name, inner in value.items()}
    if isinstance(value, list):
        texts = all(isinstance(item, str) for item in value)
        return list(dict.fromkeys(value)) if texts else [_once(item) for item in value]
    return value


SPECS = values(SCHEMA["spec"]).map(accepted)


@given(SPECS)
def test_an_accepted_spec_becomes_an_accepted_one(spec):
    assert not list(_faults(spec, SCHEMA["spec"], "spec"))

    made = spec_from(spec)

    assert faults(defaulted(made.spec, spec_schema()), strict=True) == []


@given(SPECS)
def test_converting_again_changes_nothing(spec):
    once = spec_from(spec).spec

    assert spec_from(once).spec == once
    assert fingerprint(once) == ""


@given(SPECS)
def test_every_value_survives_or_is_named(spec):
    made = spec_from(spec)

    imported = json.loads(made.annotations.get(IMPORTED_ANNOTATION, "{}"))
    said = "\n".join([*made.notes, *made.annotations.values(), *imported, *_leaves(imported)])
    kept = set(map(repr, _leaves(made.spec)))
    lost = [leaf for leaf in _leaves(spec) if repr(leaf) not in kept and str(leaf) not in said]
    # These are said in another way, or were the default.
    assert {*map(str, lost)} <= {"auto", "default", "1000", "5s", "5m", LAST_REQUEST}


LAST_REQUEST = "kotatsu_last_request_timestamp_seconds"


def test_the_fields_that_only_v1alpha1_has_are_known():
    old, new = SCHEMA["spec"]["properties"].keys(), spec_schema()["properties"].keys()

    assert old - new == {*FORMER}
    assert new - old == {*SUCCESSORS} - {"calendars"}


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


# --- the status ---


def test_what_the_operator_remembers_is_in_internal():
    same = {"takenService": "web", "hpa": {"name": "web", "minReplicas": 2}}

    made = status_from(same | {
        "phase": "Asleep",
        "lastOpening": {"window": "talk", "at": "a", "readyAt": "b", "replicas": 2},
        "demand": {"at": "a", "seen": "a", "seenAt": "b", "by": "activator"},
        "cost": {"accrued": "1.5", "at": "a", "exhausted": False, "group": {"name": "x"}},
        "override": {"key": "Warm/2/2030/ann/a/b", "seenAt": "a", "endsAt": "b"},
    })  # fmt: skip

    override = {"key": "Warm/2/2030", "seenAt": "a"}
    assert made.pop("internal") == same | {
        "version": 1, "opening": {"readyAt": "b", "replicas": 2}, "demandSeenAt": "b",
        "cost": {"at": "a"}, "override": override,
    }  # fmt: skip
    assert made == {
        "phase": "Asleep", "lastOpening": {"window": "talk", "at": "a"},
        "demand": {"at": "a", "seen": "a"}, "cost": {"accrued": "1.5"}, "overrideEndsAt": "b",
    }  # fmt: skip


def test_after_a_rollback_what_the_old_operator_wrote_is_newer():
    known = {"version": 1, "takenService": "web"}

    made = status_from(
        {"internal": known | {"cost": {"at": "a", "period": "Day"}}, "cost": {"at": "b"}}
    )

    assert made["internal"] == known | {"cost": {"at": "b"}}


def test_a_word_of_an_old_activator_removes_nothing():
    status = {"lastOpening": {"at": "a"}, "internal": {"version": 1, "opening": {"readyAt": "b"}}}

    made = status_from(status | {"demand": {"at": "c", "by": "me"}})

    assert made == status | {"demand": {"at": "c"}}


@given(values(SCHEMA["status"]))
def test_a_status_is_read_once(status):
    made = status_from(status)

    assert leftovers(made) == {}
    assert status_from(made) == made


@given(st.dictionaries(st.sampled_from([*SCHEMA["status"]["properties"]]), st.text() | st.none()))
def test_a_status_that_was_edited_is_no_error(status):
    assert leftovers(status_from(status)) == {}


def test_the_patch_that_removes_the_old_fields_removes_no_other():
    left = leftovers({"phase": "Warm", "cost": {"at": "a", "accrued": "1"}, "windows": {}})
    assert left == {"cost": {"at": None}, "windows": None}
