"""From v1alpha1 to v1beta1: every spec that was accepted is, and every value survives."""

from typing import Any

import pytest
import yaml
from chart.kit import ROOT
from fuzz.schema import values
from hypothesis import assume, given
from hypothesis import strategies as st

from kotatsu_demo_mode.schema import RULES, _faults, defaulted, faults, spec_schema
from kotatsu_operator.core.pool.v1alpha1 import (
    BY,
    FORMER,
    REASON,
    SUCCESSORS,
    fingerprint,
    leftovers,
    spec_from,
    status_from,
)

FILE = yaml.safe_load((ROOT / "tests/apiserver/v1alpha1.yaml").read_text())
SCHEMA = FILE["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
TARGET = {"targetRef": {"name": "web"}}


def converted(**spec: Any) -> dict[str, Any]:
    """What is made of these fields."""
    made = spec_from(TARGET | spec).spec
    assert made.pop("targetRef") == TARGET["targetRef"]
    return made


def notes(**spec: Any) -> tuple[str, ...]:
    return spec_from(TARGET | spec).notes


def test_fields_of_groups_are_fields_of_the_spec() -> None:
    assert converted(
        prewarm={"lead": "2m", "capacityAhead": "10m"},
        scaling={"maxReplicas": 7, "idleAfter": "1m"},
        wake={"holdTimeout": "30s", "ignorePaths": ["/up"]},
        drain={"timeout": "5s"},
    ) == {
        "lead": "2m", "capacityAhead": "10m", "maxReplicas": 7, "idleAfter": "1m",
        "holdTimeout": "30s", "ignorePaths": ["/up"], "drainTimeout": "5s",
    }  # fmt: skip


def test_a_learned_lead_is_an_absent_one() -> None:
    assert converted(prewarm={"lead": "auto"}) == {}


def test_the_default_page_is_a_waiting_page() -> None:
    assert converted(wake={"page": "default"}) == {"waitingPage": True}


@pytest.mark.parametrize(
    ("parked", "made"),
    [
        ({}, {"parkedFor": "1h"}),
        ({"for": "0s", "replicas": 3}, {"parkedFor": "0s", "parkedReplicas": 3}),
    ],
)
def test_a_pool_that_parks_says_for_how_long(parked: Any, made: Any) -> None:
    assert converted(parked=parked) == made


def test_a_calendar_that_closes_days_is_one_of_the_calendars() -> None:
    team = {"name": "team", "replicas": 2}

    assert converted(calendars=[team], closedOn=["team", "holidays"])["calendars"] == [
        team,
        {"name": "team", "mode": "Closed"},
        {"name": "holidays", "mode": "Closed"},
    ]


@pytest.mark.parametrize(
    ("match", "text"),
    [
        ({"text": "pitch"}, {"match": "pitch"}),
        ({"category": "demo"}, {"match": "demo"}),
        ({"text": "pitch", "category": "demo"}, {"match": "pitch"}),
        ({}, {}),
    ],
)
def test_a_calendar_matches_one_text(match: Any, text: Any) -> None:
    use = {"name": "team", "replicas": 2}

    assert converted(calendars=[use | {"match": match}])["calendars"] == [use | text]


def test_who_set_an_override_is_in_annotations() -> None:
    override = {"mode": "Warm", "until": "2030-01-01T00:00:00Z"}

    made = spec_from(TARGET | {"override": override | {"by": "ann", "reason": "pitch"}})

    assert made.spec["override"] == override
    assert made.annotations == {BY: "ann", REASON: "pitch"}


def test_the_event_of_an_imported_window_is_in_an_annotation() -> None:
    window = {"name": "talk", "replicas": 1}
    event = {"calendar": "team", "uid": "1@x"}

    made = spec_from(TARGET | {"windows": [window | {"from": event}, {"name": "own"}]})

    assert made.spec["windows"] == [window, {"name": "own"}]
    assert made.annotations == {
        "kotatsu.dev/imported": '{"talk": {"calendar": "team", "uid": "1@x"}}'
    }


def test_what_has_no_place_is_named_with_what_to_do() -> None:
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


def test_defaults_that_have_no_place_need_no_word() -> None:
    assert not notes(wake={"maxHeld": 1000}, drain={"routeSettle": "5s"}, parked={"for": "1h"})


@given(values(SCHEMA["spec"]))
def test_an_accepted_spec_becomes_an_accepted_one(spec: Any) -> None:
    for window in spec.get("windows") or ():
        for name in ("start", "end") if "schedule" in window and "duration" in window else ():
            window.pop(name, None)
    old = defaulted(spec, SCHEMA["spec"])
    assume(not list(_faults(old, SCHEMA["spec"], "spec")))
    new = spec_from(old)
    assume(not any(rule(old) is False for rule in ()))

    assert faults(defaulted(new.spec, spec_schema()), strict=True) == []


@given(values(SCHEMA["spec"]))
def test_converting_again_changes_nothing(spec: Any) -> None:
    once = spec_from(spec).spec

    assert spec_from(once).spec == once
    assert not FORMER & once.keys() if isinstance(FORMER, set) else not {*FORMER} & once.keys()
    assert fingerprint(once) == ""


@given(values(SCHEMA["spec"]))
def test_every_value_survives_or_is_named(spec: Any) -> None:
    made = spec_from(spec)
    kept = {*_leaves(made.spec), *_leaves(dict(made.annotations))}
    told = "\n".join(made.notes) + "\n".join(map(str, made.annotations.values()))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]
