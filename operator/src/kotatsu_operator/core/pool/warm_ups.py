"""The measured warm-ups of a pool, as short rows of the status.

A row is `[seconds, replicas, window, template]`, and the four parts behind it if the pods showed
them. `window` is 1 if a window asked for the pods. `template` is null if it is that of the row
before: a pool has up to 20 warm-ups, nearly always of one template.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from kotatsu_operator.core.formats import count, internal, seconds
from kotatsu_operator.core.pool.memory import Parts, WarmUp
from kotatsu_operator.core.schema import MOST_ITEMS, Form, Schema

_FORMER = Schema(WarmUp)
"""A warm-up as v1alpha1 has written it."""


def read_warm_ups(status: Mapping[str, Any]) -> tuple[WarmUp, ...]:
    """The warm-ups in a WarmPool's status, oldest first."""
    return _read(internal(status).get("warmUps"))


def _read(given: Any) -> tuple[WarmUp, ...]:
    """The newest readable rows: an edited status may have more than the operator writes."""
    listed = given if isinstance(given, list) else []
    return tuple(_each(listed))[-MOST_ITEMS:]


def _each(listed: Sequence[Any]) -> Iterator[WarmUp]:
    template = ""
    for row in listed:
        if isinstance(row, Mapping) and (former := _FORMER.read(row)) is not None:
            yield former
        if not isinstance(row, list) or len(row) not in (4, 8):
            continue
        took, replicas, of_window, name, *rest = row
        template = name if isinstance(name, str) else template
        if (lasted := seconds(took)) is None or (number := count(replicas, -1)) < 0:
            continue
        parts = [part for part in map(seconds, rest) if part is not None]
        yield WarmUp(
            lasted, number, template, Parts(*parts) if len(parts) == 4 else None, bool(of_window)
        )


def _written(warm_ups: Sequence[WarmUp]) -> list[list[Any]]:
    rows, before = list[list[Any]](), ""
    for one in warm_ups:
        name = None if one.template == before else one.template
        parts = () if one.parts is None else astuple(one.parts)
        row = [one.seconds, one.replicas, int(one.window), name, *parts]
        rows.append([round(x, 3) if isinstance(x, float) else x for x in row])
        before = one.template
    return rows


WARM_UPS = Form(_read, _written)
"""The field `warmUps` of `internal`."""
