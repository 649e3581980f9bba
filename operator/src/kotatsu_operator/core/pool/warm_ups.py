"""The measured warm-ups of a pool, as short rows of the status.

A row is `[seconds, replicas, window]`, and the four parts behind it if the pods showed them.
`window` is 1 if a window asked for the pods. A string is the template of the rows that follow: a
pool has up to 20 warm-ups, nearly always of one template. Their parts are stored of the slowest and
of the newest ones: people look at those.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

from kotatsu_operator.core.formats import count, internal, seconds
from kotatsu_operator.core.pool.memory import Parts, WarmUp
from kotatsu_operator.core.schema import MOST_ITEMS, Form, Schema

WITH_PARTS = 5
"""The newest warm-ups whose parts are stored."""

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
        if isinstance(row, str):
            template = row
        if not isinstance(row, list) or len(row) not in (3, 7):
            continue
        took, replicas, of_window, *rest = row
        if (lasted := seconds(took)) is None or (number := count(replicas, -1)) < 0:
            continue
        parts = [part for part in map(seconds, rest) if part is not None]
        yield WarmUp(
            lasted, number, template, Parts(*parts) if len(parts) == 4 else None, bool(of_window)
        )


def _written(warm_ups: Sequence[WarmUp]) -> list[Any]:
    rows, template = list[Any](), ""
    slowest = max((one.seconds for one in warm_ups), default=0.0)
    for left, one in enumerate(warm_ups, start=1 - len(warm_ups)):
        if one.template != template:
            rows.append(template := one.template)
        is_told = left > -WITH_PARTS or one.seconds == slowest
        parts = astuple(one.parts) if one.parts is not None and is_told else ()
        row = [one.seconds, one.replicas, int(one.window), *parts]
        rows.append([round(x, 3) if isinstance(x, float) else x for x in row])
    return rows


WARM_UPS = Form(_read, _written)
"""The field `warmUps` of `internal`."""
