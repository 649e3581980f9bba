"""Dataclasses as parts of a WarmPool's status: written and read by one declaration.

A status may have been edited by hand, so everything is read tolerantly (`core.formats`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType, NoneType, UnionType
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

MOST_ITEMS = 20
"""Items of a list in a status, unless its form says otherwise."""

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
        return several(_form_of(first), MOST_ITEMS)
    if issubclass(kind, Enum):
        return Form(lambda given: choice(kind, given, None), lambda one: one.value)
    return _FORMS[kind] if kind in _FORMS else Schema(kind)


def several(form: Any, most: int) -> Form:
    """A tuple of values of one form, stored as a list of at most `most`."""

    def read(given: Any) -> tuple[Any, ...]:
        # Only the newest: an edited status may have more than the operator writes.
        listed = given[-most:] if isinstance(given, list) else ()
        return tuple(one for item in listed if (one := form.read(item)) is not None)

    def write(values: Sequence[Any]) -> list[Any]:
        return [_without_none(form.write(value)) for value in values]

    return Form(read, write)


def _without_none(written: Any) -> Any:
    # A patch replaces a list as a whole, so that a None would stay in it.
    if not isinstance(written, dict):
        return written
    return {name: value for name, value in written.items() if value is not None}


class Schema(Generic[T]):
    """A dataclass that is stored as an object, without the attributes in `but`.

    A field has the name of its attribute in camel case, unless `names` has another one. A name with
    dots is a path: `internal.hpa` is the field `hpa` of the field `internal`. The fields of an
    attribute with an empty name are those of the object itself.
    Its form follows from the attribute's type, unless `forms` has another one. The attributes in
    `brief` are left out while they have their defaults.
    """

    def __init__(
        self,
        kind: type[T],
        but: Collection[str] = (),
        brief: Collection[str] = (),
        forms: Mapping[str, Any] = MappingProxyType({}),
        **names: str,
    ) -> None:
        self._kind, types, self._brief = kind, get_type_hints(kind), frozenset(brief)
        stored = [f for f in fields(kind) if f.name not in but]  # type: ignore[arg-type]
        self._defaults: dict[str, Any] = {}
        self._rows: list[tuple[str, list[str], Any]] = []
        for f in stored:
            optional = f.default is MISSING and NoneType in get_args(types[f.name])
            self._defaults[f.name] = None if optional else f.default
            form = forms.get(f.name) or _form_of(types[f.name])
            name = names.get(f.name, _camel(f.name))
            self._rows.append((f.name, name.split(".") if name else [], form))

    def values(self, given: Any) -> dict[str, Any]:
        """The attributes. One that cannot be read has its default; MISSING without one."""
        read = dict(self._defaults)
        for attribute, path, form in self._rows:
            found: Any = table(given)
            for name in path:
                found = table(found).get(name)
            if found is not None and (value := form.read(found)) is not None:
                read[attribute] = value
        return read

    def read(self, given: Any) -> T | None:
        """The dataclass; None if an attribute without a default cannot be read."""
        values = self.values(given)
        return None if MISSING in values.values() else self._kind(**values)

    def write(self, value: T) -> dict[str, Any]:
        """The object; a value of None becomes None, which removes the field from a status.

        An attribute with an empty name and the value None adds nothing.
        """
        written: dict[str, Any] = {}
        for attribute, path, form in self._rows:
            one = getattr(value, attribute)
            if not path:
                if one is not None:
                    written = joined(written, form.write(one))
                continue
            left_out = one is None or (
                attribute in self._brief and one == self._defaults[attribute]
            )
            part = written
            for name in path[:-1]:
                part = part.setdefault(name, {})
            part[path[-1]] = None if left_out else form.write(one)
        return written


def joined(*patches: Mapping[str, Any]) -> dict[str, Any]:
    """Merge patches of one object as one. A None of any of them stays: it removes a field."""
    made: dict[str, Any] = {}
    for patch in patches:
        for name, value in patch.items():
            known = made.get(name)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                value = joined(known, value)
            made[name] = value
    return made


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
