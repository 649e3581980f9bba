"""Dataclasses as they are stored in a status: one declaration for writing and reading.

A field has the name of its attribute in camel case, unless the record gives it another one, and the
form that follows from the attribute's type. A status may have been edited by hand, so everything is
read tolerantly (`core.formats`).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from kotatsu_operator.core.formats import (
    amount,
    choice,
    count,
    format_duration,
    instant,
    lasting,
    seconds,
    stamp,
    table,
)
from kotatsu_operator.core.plan.lead import KEEP

T = TypeVar("T")


class Form(NamedTuple):
    """How values of one type are stored."""

    read: Callable[[Any], Any]
    """Returns None for anything that is not such a value."""
    write: Callable[[Any], Any]


_FORMS: Mapping[type, Form] = {
    bool: Form(bool, bool),
    str: Form(lambda given: given if isinstance(given, str) else None, str),
    int: Form(lambda given: None if (n := count(given, -1)) < 0 else n, int),
    float: Form(seconds, lambda value: round(value, 3)),
    Decimal: Form(amount, "{:.6f}".format),
    datetime: Form(instant, stamp),
    timedelta: Form(lasting, format_duration),
}


def _form_of(kind: Any) -> Any:
    first = next((arg for arg in get_args(kind) if arg is not NoneType), None)
    if isinstance(kind, UnionType):
        return _form_of(first)
    if get_origin(kind) is tuple:
        return _several(_form_of(first))
    if issubclass(kind, Enum):
        return Form(lambda given: choice(kind, given, None), lambda one: one.value)
    return Record(kind) if is_dataclass(kind) else _FORMS[kind]


def _several(form: Any) -> Form:
    def read(given: Any) -> tuple[Any, ...]:
        # Only the newest: an edited status may have more than the operator writes.
        listed = given[-KEEP:] if isinstance(given, list) else ()
        return tuple(one for item in listed if (one := form.read(item)) is not None)

    return Form(read, lambda values: [form.write(value) for value in values])


class Record(Generic[T]):
    """A dataclass that is stored as an object, without the attributes in `but`.

    `names` has the names of fields that differ from their attributes, or paths (`route.epoch`).
    """

    def __init__(self, kind: type[T], but: Collection[str] = (), **names: str) -> None:
        self._kind, types = kind, get_type_hints(kind)
        stored = [f for f in fields(kind) if f.name not in but]  # type: ignore[arg-type]
        self._defaults = {f.name: f.default for f in stored}
        self._rows = [
            (f.name, names.get(f.name, _camel(f.name)).split("."), _form_of(types[f.name]))
            for f in stored
        ]

    def values(self, given: Any) -> dict[str, Any]:
        """The attributes. One that cannot be read has its default; without one it is left out."""
        read = dict(self._defaults)
        for attribute, (*parents, last), form in self._rows:
            parent = table(given)
            for name in parents:
                parent = table(parent.get(name))
            if last in parent and (value := form.read(parent[last])) is not None:
                read[attribute] = value
        return {name: value for name, value in read.items() if value is not MISSING}

    def read(self, given: Any) -> T | None:
        """The dataclass; None if an attribute without a default cannot be read."""
        values = self.values(given)
        return self._kind(**values) if len(values) == len(self._rows) else None

    def write(self, value: T) -> dict[str, Any]:
        """The object; a value of None becomes None, which removes the field from a status."""
        written: dict[str, Any] = {}
        for attribute, (*parents, last), form in self._rows:
            parent = written
            for name in parents:
                parent = parent.setdefault(name, {})
            one = getattr(value, attribute)
            parent[last] = None if one is None else form.write(one)
        return written


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
