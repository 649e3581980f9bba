"""From the API v1alpha1 to v1beta1: the spec and the status of a WarmPool. Pure.

The CRD upgrade Job converts pools with it, `kubectl demo-mode convert` manifests, and the operator
the statuses that it finds. A manifest may have been written by hand: what is not as expected stays.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kotatsu_operator.core.formats import table, tables, text
from kotatsu_operator.core.protocol import (
    API_VERSION,
    BY_ANNOTATION,
    IMPORTED_ANNOTATION,
    REASON_ANNOTATION,
)

GROUP = "kotatsu.dev"
OLD, NEW = f"{GROUP}/v1alpha1", API_VERSION
"""The apiVersion of a WarmPool before and after."""

CONVERTED = f"{GROUP}/converted"
"""Annotation of a pool that the Job has converted: a fingerprint of what it had in v1alpha1."""

BY, REASON, IMPORTED = BY_ANNOTATION, REASON_ANNOTATION, IMPORTED_ANNOTATION

Path = tuple[str, ...]


class Converted(NamedTuple):
    """A spec of v1beta1, and what became of the rest."""

    spec: dict[str, Any]
    annotations: dict[str, str]
    """To set on the pool."""
    notes: tuple[str, ...]
    """What has no place in a pool any more, and what to do; one sentence each."""


_SPEC: Mapping[Path, str] = {
    ("prewarm", "lead"): "lead",
    ("prewarm", "capacityAhead"): "capacityAhead",
    ("scaling", "maxReplicas"): "maxReplicas",
    ("scaling", "targetConcurrency"): "targetConcurrency",
    ("scaling", "idleAfter"): "idleAfter",
    ("scaling", "connectionIdleTimeout"): "connectionIdleTimeout",
    ("parked", "for"): "parkedFor",
    ("parked", "replicas"): "parkedReplicas",
    ("wake", "holdTimeout"): "holdTimeout",
    ("wake", "ignorePaths"): "ignorePaths",
    ("wake", "page"): "waitingPage",
    ("drain", "timeout"): "drainTimeout",
}
"""Fields that have another name."""

_ANSWER = "set the chart value {} to it: it is for all pools of a release"
_GONE: Mapping[Path, tuple[Any, str]] = {
    ("wake", "maxHeld"): (1000, _ANSWER.format("activator.maxHeld")),
    ("drain", "routeSettle"): ("5s", _ANSWER.format("routeSettle (in seconds)")),
    ("parked", "requests", "cpu"): ("5m", _ANSWER.format("parked.cpu")),
    ("parked", "requests", "memory"): (None, "parked pods keep the memory that they request"),
    ("metrics", "lastRequestName"): (
        "kotatsu_last_request_timestamp_seconds",
        "export the gauge as kotatsu_last_request_timestamp_seconds",
    ),
    ("budget", "currency"): (None, "amounts have the currency of the chart value prices"),
    ("budget", "prices"): (None, _ANSWER.format("prices")),
    ("budget", "group"): (None, "each pool has a limit of its own: check spec.budget.limit"),
}
"""Fields without a successor: their default, and what to do about another value."""

SUCCESSORS = (*_SPEC.values(), "calendars")
"""Fields of v1beta1 that are made of others."""

FORMER = ("prewarm", "scaling", "parked", "wake", "drain", "closedOn")
"""Fields of the spec that only v1alpha1 has."""


def fingerprint(spec: Mapping[str, Any]) -> str:
    """Identifies what a spec has in the form of v1alpha1 alone; empty if there is nothing."""
    former = {name: spec[name] for name in FORMER if spec.get(name) is not None}
    asked = [
        u["match"] for u in tables(spec.get("calendars")) if isinstance(u.get("match"), Mapping)
    ]
    if not former and not asked:
        return ""
    return hashlib.sha256(json.dumps([former, asked], sort_keys=True).encode()).hexdigest()[:16]


def spec_from(spec: Mapping[str, Any]) -> Converted:
    """The spec in v1beta1. Fields that it shares with v1alpha1 stay as they are."""
    new = {name: value for name, value in spec.items() if name not in FORMER}
    annotations: dict[str, str] = {}
    if isinstance(spec.get("parked"), Mapping):
        new["parkedFor"] = "1h"
    for path, name in _SPEC.items():
        if (value := _at(spec, path)) is not None:
            new[name] = value
    if new.get("lead") == "auto":
        del new["lead"]
    if "waitingPage" in new and not isinstance(new["waitingPage"], bool):
        new["waitingPage"] = True
    notes = list(_notes(spec))
    for name in ("metrics", "budget"):
        if given := table(spec.get(name)):
            new[name] = _without(given, *(path[1] for path in _GONE if path[0] == name))
            if not new[name]:
                del new[name]
    override = table(spec.get("override"))
    for name, annotation in (("by", BY), ("reason", REASON)):
        if said := text(override.get(name)):
            annotations[annotation] = said
    if override:
        new["override"] = _without(override, "by", "reason")
    if isinstance(windows := spec.get("windows"), list):
        new["windows"] = [_without(w, "from") if isinstance(w, Mapping) else w for w in windows]
        origins = {text(w.get("name")): w["from"] for w in tables(windows) if w.get("from")}
        if origins:
            annotations[IMPORTED] = json.dumps(origins, ensure_ascii=False, sort_keys=True)
    if calendars := _calendars(spec):
        new["calendars"] = calendars
    return Converted(new, annotations, tuple(notes))


def _notes(spec: Mapping[str, Any]) -> Iterator[str]:
    for path, (default, answer) in _GONE.items():
        value = _at(spec, path)
        if value is not None and value != default:
            written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"spec.{'.'.join(path)}: {written} is not kept: {answer}"
    for use in tables(spec.get("calendars")):
        asked = table(use.get("match"))
        if asked.get("text") and asked.get("category"):
            yield (
                f"spec.calendars[{text(use.get('name'))}].match.category: {asked['category']} is "
                "not kept: match is one text, which the title or a category of an event has"
            )


def _calendars(spec: Mapping[str, Any]) -> list[Any]:
    """The calendars, with those that close days. The same if they are converted already."""
    given, closed = spec.get("calendars"), spec.get("closedOn")
    uses = [_calendar(use) for use in given] if isinstance(given, list) else []
    known = [use["name"] for use in tables(uses) if use.get("mode") == "Closed" and "name" in use]
    named = closed if isinstance(closed, list) else []
    return uses + [{"name": name, "mode": "Closed"} for name in named if name not in known]


def _calendar(use: Any) -> Any:
    asked = use.get("match") if isinstance(use, Mapping) else None
    if not isinstance(asked, Mapping):
        return use
    match = asked.get("text") or asked.get("category")
    return _without(use, "match") | ({"match": match} if match else {})


# --- the status ---

_STATUS: Mapping[Path, Path] = {
    **{
        (name,): (name,)
        for name in (
            "target", "parkedSince", "ahead", "capacity", "firstStart", "windows", "warmUps",
            "template", "hpa", "contest", "calendars", "reported", "notices", "demandUnknownSince",
            "wokenSoon", "foundReplicas", "takenService", "knative", "history",
        )
    },
    **{("lastOpening", name): ("opening", name) for name in ("readyAt", "replicas", "excused")},
    **{("override", name): ("override", name) for name in ("key", "seenAt", "done", "reported")},
    ("demand", "seenAt"): ("demandSeenAt",),
    **{
        ("cost", name): ("cost", name)
        for name in (
            "at", "period", "periodEnd", "exhaustedAt", "podPerHour", "parkedPodPerHour", "previous"
        )
    },
}  # fmt: skip
"""Where v1alpha1 has what `status.internal` has."""

_DROPPED: tuple[Path, ...] = (
    ("override", "endsAt"),
    ("override",),
    ("demand", "by"),
    ("cost", "exhausted"),
    ("cost", "group"),
)


def status_from(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status in the form of v1beta1; the same if nothing in it is of v1alpha1.

    An operator of v1alpha1 writes its own fields, also beside `internal` after a rollback: what it
    wrote is newer.
    """
    if not leftovers(status):
        return dict(status)
    new: dict[str, Any] = _copy(status)
    internal = _copy(table(status.get("internal"))) | {"version": 1}
    found = {path: place for path, place in _STATUS.items() if _at(status, path) is not None}
    for place in found.values():
        internal.pop(place[0], None)
    for path, place in found.items():
        _put(internal, place, _at(status, path))
    key = _at(internal, ("override", "key"))
    if isinstance(key, str):
        # Without who set it and why.
        internal["override"]["key"] = "/".join(key.split("/")[:3])
    if (ends := _at(status, ("override", "endsAt"))) is not None:
        new["overrideEndsAt"] = ends
    for path in (*_STATUS, *_DROPPED):
        table_ = _at(new, path[:-1])
        if isinstance(table_, dict):
            table_.pop(path[-1], None)
    return new | {"internal": internal}


def leftovers(status: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch that removes what only v1alpha1 has; empty if there is nothing."""
    patch: dict[str, Any] = {}
    for path in (*_STATUS, *_DROPPED):
        if _at(status, path) is not None:
            _put(patch, path, None)
    return patch


# --- parts of objects ---


def _at(given: Any, path: Path) -> Any:
    for name in path:
        given = given.get(name) if isinstance(given, Mapping) else None
    return given


def _put(target: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(target.get(name), dict):
            target[name] = {}
        target = target[name]
    target[path[-1]] = value


def _copy(given: Mapping[str, Any]) -> dict[str, Any]:
    return {n: _copy(v) if isinstance(v, Mapping) else v for n, v in given.items()}


def _without(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}
