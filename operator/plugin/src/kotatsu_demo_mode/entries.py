"""Entries of spec.windows: added, replaced or removed; written one by one, with their owners."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.calendar.wallclock import on_clock, second_instant, to_instant
from kotatsu_operator.core.formats import format_duration, table, text
from kotatsu_operator.core.pool.spec import mode_field
from kotatsu_operator.core.protocol import IMPORTED_ANNOTATION

from .api import JSON_PATCH, MANAGER, Api, dry_run_query
from .errors import ConflictError, DemoModeError, NotFoundError, changed
from .notes import added_notes, removed_notes
from .objects import Object, managers_of
from .pools import Pool, read_pool
from .words import about, duration_of, moment_of, skipped_note, wall

Source = Mapping[str, str]
"""The calendar and the UID of an event."""

MOST_WINDOWS = 64
"""The CRD's limit for one pool."""


@dataclass(frozen=True)
class Request:
    """The flags of a new window: a single one has `at`, a repeating one `schedule`."""

    name: str
    lasting: str = "1h"
    at: str | None = None
    schedule: str | None = None
    replicas: int | None = None
    parked: bool = False
    """Whether its pods are parked until a request comes."""


@dataclass(frozen=True)
class Edit:
    """A change of one window of one pool."""

    pool: Pool
    """The pool as it was read."""
    name: str
    verb: str
    """added, replaced, removed or unchanged."""
    index: int | None
    """The position of the entry in spec.windows; None if it is new or does not exist."""
    value: Object | None
    """The entry; None removes it."""
    notes: Sequence[str] = ()
    """What to know before the write."""
    source: Source | None = None
    """The event that the window is imported from."""

    @property
    def is_change(self) -> bool:
        return self.verb != "unchanged"

    @property
    def after(self) -> Pool:
        """The pool with this change. Raises DemoModeError if the API server would refuse it."""
        return after_all(self.pool, [self])


def after_all(pool: Pool, edits: Sequence[Edit]) -> Pool:
    """A pool with some changes. Raises DemoModeError if the API server would refuse it."""
    return read_pool(raw_after(pool, edits), pool.spec.platform)


def sources_of(raw: Object) -> dict[str, Source]:
    """The events that windows were imported from, by the name of the window."""
    written = text(table(raw["metadata"].get("annotations")).get(IMPORTED_ANNOTATION))
    try:
        given = table(json.loads(written)) if written else {}
    except (ValueError, RecursionError):
        return {}
    return {
        name: {key: text(table(source).get(key)) for key in ("calendar", "uid")}
        for name, source in given.items()
    }


def raw_after(pool: Pool, edits: Sequence[Edit]) -> Object:
    """A pool's object with some changes of different windows, as the API server would answer."""
    before, meta, sources = entries_of(pool), pool.raw["metadata"], sources_of(pool.raw)
    windows: dict[int, Object | None] = dict(enumerate(before))
    for edit in (edit for edit in edits if edit.is_change):
        if edit.index is not None:
            sources.pop(str(before[edit.index].get("name")), None)
        windows[len(windows) if edit.index is None else edit.index] = edit.value
    sources |= {e.name: e.source for e in edits if e.value is not None and e.source is not None}
    if sources != sources_of(pool.raw):
        written = json.dumps(sources, ensure_ascii=False, sort_keys=True)
        notes = {**table(meta.get("annotations")), IMPORTED_ANNOTATION: written}
        meta = meta | {"annotations": notes}
    spec = {"windows": [entry for entry in windows.values() if entry is not None]}
    return pool.raw | {"metadata": meta, "spec": pool.raw["spec"] | spec}


def entries_of(pool: Pool) -> list[Object]:
    return list(pool.raw["spec"].get("windows") or ())


def entry_of(window: Window) -> Object:
    """A window as an entry of spec.windows."""
    lasting = format_duration(window.duration or timedelta())
    times = {"schedule": window.schedule, "duration": lasting}
    if window.start is not None and window.end is not None:
        times = {"start": wall(window.start), "end": wall(window.end)}
    mode = mode_field(parked=window.parked)
    return {"name": window.name, "replicas": window.replicas, **times, **mode}


def adding(pool: Pool, request: Request, now: datetime) -> Edit:
    """Add a window, or replace the one of this name. Raises DemoModeError if it cannot be."""
    value, notes = _entry(pool, request, now)
    index, before = _find(pool, request.name)
    if index is None and len(pool.own_windows) >= MOST_WINDOWS:
        raise DemoModeError(
            f"{pool.name} has {MOST_WINDOWS} windows, the maximum of a pool; remove one that has "
            f"ended (`kubectl demo-mode window list {pool.name}`)"
        )
    edit = Edit(pool, request.name, "added" if before is None else "replaced", index, value)
    after = edit.after
    (window,) = (w for w in after.own_windows if w.name == request.name)
    if window == before:
        return replace(edit, verb="unchanged")
    return replace(edit, notes=[*notes, *added_notes(pool, after, window, before, now)])


def removing(pool: Pool, name: str, now: datetime) -> Edit:
    """Remove a window; a pool without it is unchanged."""
    index, before = _find(pool, name)
    if before is None:
        return Edit(pool, name, "unchanged", None, None)
    edit = Edit(pool, name, "removed", index, None)
    return replace(edit, notes=removed_notes(pool, edit.after, before, now))


def _find(pool: Pool, name: str) -> tuple[int | None, Window | None]:
    for index, window in enumerate(pool.own_windows):
        if window.name == name:
            return index, window
    return None, None


def _entry(pool: Pool, request: Request, now: datetime) -> tuple[Object, list[str]]:
    """The entry of a request, and a note if clocks skip its start."""
    length = duration_of(request.lasting, "--for")
    if length <= timedelta():
        raise DemoModeError(
            f"--for: {request.lasting} is not longer than 0; write it like 90s, 2m or 1h30m"
        )
    entry: dict[str, Any] = {
        "name": request.name,
        "replicas": most_replicas(pool, request.replicas),
        **mode_field(parked=request.parked),
    }
    if request.schedule is not None:
        return entry | {"schedule": request.schedule, "duration": request.lasting}, []
    asked, zone = str(request.at), pool.spec.zone
    given, is_skipped = moment_of(asked, zone, now, "--at")
    try:
        opens = given.replace(microsecond=0)
        closes = opens + length
        start, end = on_clock(opens, zone), on_clock(closes, zone)
        first = to_instant(start, zone)[0]
    except OverflowError:
        raise DemoModeError(
            f"--for: {request.lasting} from {asked} ends after the year 9999; use a shorter time"
        ) from None
    if first != opens:
        raise DemoModeError(
            f"--at: {start:%H:%M} occurs twice on {start:%Y-%m-%d} because clocks go back, and a "
            "window opens at the first; give a time before or after that hour"
        )
    if closes <= now:
        here = now.astimezone(zone).isoformat(timespec="minutes")
        raise DemoModeError(
            f"--at: a window at {asked} for {request.lasting} is over (it is {here} in {zone.key})"
            "; give a later time"
        )
    notes = [skipped_note(opens, zone)] if is_skipped else []
    again = second_instant(end, zone)
    if again is not None and again != closes:
        notes.append(
            f"clocks go back at its end: it closes after {about(again - opens)}, when it is "
            f"{end:%H:%M} again"
        )
    return entry | {"start": wall(start), "end": wall(end)}, notes


def most_replicas(pool: Pool, asked: int | None) -> int:
    """The pods of a new window: as asked, or the most of any window. Raises DemoModeError."""
    most = pool.spec.max_replicas
    if asked is None:
        return pool.spec.most_replicas
    if asked > most:
        patch = f'{{"spec":{{"maxReplicas":{asked}}}}}'
        raise DemoModeError(
            f"--replicas: {asked} is more than {most}, the maxReplicas of {pool.name}; use "
            f"at most {most}, or set it to {asked}: `kubectl patch warmpool {pool.name} "
            f"-n {pool.namespace} --type=merge -p '{patch}'`"
        )
    return asked


_BY_HAND = {
    "kubectl-client-side-apply": "the next `kubectl apply` of its manifest",
    "helm": "the next `helm upgrade` that changes windows",
}
"""Clients that replace the whole list, but only when a person runs them."""


def owners(raw: Object, name: str) -> list[str]:
    """The field managers of a window."""
    found = {
        manager: None
        for manager, _, windows in managers_of(raw, "windows")
        for key in windows
        if key.startswith("k:") and json.loads(key[2:]).get("name") == name
    }
    return list(found)


def list_writers(raw: Object) -> list[str]:
    """The field managers that write spec.windows as a whole, and so would remove a new window.

    A server-side apply keeps the windows of other managers. kubectl's other commands (edit, patch)
    do not write again.
    """
    found = {
        manager: None
        for manager, operation, _ in managers_of(raw, "windows")
        if operation != "Apply" and manager != MANAGER
        if manager in _BY_HAND or not manager.startswith("kubectl")
    }
    return list(found)


def check_owners(edit: Edit, *, force: bool) -> list[str]:
    """Notes about other managers of the windows. Raises ConflictError without `force`."""
    raw, pool = edit.pool.raw, edit.pool
    others = [owner for owner in owners(raw, edit.name) if owner != MANAGER]
    if others and not force:
        instead = "change it there" if edit.value else "remove it there"
        raise ConflictError(
            f"the window {edit.name} of {pool.name} is owned by {' and '.join(others)}; {instead}, "
            "or use --force-conflicts (a GitOps tool may write it again)"
        )
    if edit.index is not None:
        return []
    writers = list_writers(raw)
    tools = [writer for writer in writers if writer not in _BY_HAND]
    if tools and not force:
        raise ConflictError(
            f"spec.windows of {pool.name} is owned by {' and '.join(tools)}, which may remove "
            "other windows; add the window there, or use --force-conflicts"
        )
    return [
        f"{_BY_HAND[writer]} removes this window unless you add it there too"
        for writer in writers
        if writer in _BY_HAND
    ]


def write(api: Api, pool: Pool, edits: Sequence[Edit], *, dry_run: bool) -> Object:
    """Write changes if the spec is still as it was read; returns the pool.

    The operator writes the status at any time, so the generation is compared, not the version of
    the object. Raises DemoModeError.
    """
    try:
        return api.patch(pool.path, operations(pool, edits), JSON_PATCH, dry_run_query(dry_run))
    except NotFoundError:
        raise
    except DemoModeError as error:
        if _generation(api.get(pool.path)) == _generation(pool.raw):
            raise error from None
        raise changed(pool.name) from None


def operations(pool: Pool, edits: Sequence[Edit]) -> list[Object]:
    """The JSON patch (RFC 6902) of changes of different windows.

    Of a list that is written as a whole, a field manager owns the windows that it changes.
    """
    after = raw_after(pool, edits)
    found: list[Object] = [
        {"op": "test", "path": "/metadata/generation", "value": _generation(pool.raw)},
        {"op": "add", "path": "/spec/windows", "value": after["spec"]["windows"]},
    ]
    if after["metadata"] != pool.raw["metadata"]:
        path, value = "/metadata/annotations", after["metadata"]["annotations"]
        if table(pool.raw["metadata"].get("annotations")):
            path += f"/{IMPORTED_ANNOTATION.replace('/', '~1')}"
            value = value[IMPORTED_ANNOTATION]
        found.append({"op": "add", "path": path, "value": value})
    return found


def _generation(raw: Object) -> Any:
    return raw["metadata"].get("generation")
