"""Values that an API server lets through a schema of a CRD, odd ones first of all."""

import re
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

_ODD = st.sampled_from(
    ["", " ", "0", "-1", "NaN", "Infinity", "1e999", "null", "٣", "x" * 300, "\x00"]
)
_TIMES = st.builds(
    "{:04d}-{:02d}-{:02d}{}{:02d}:{:02d}:{:02d}{}{}".format,
    st.one_of(st.sampled_from([0, 1, 2, 1969, 9998, 9999]), st.integers(0, 9999)),
    st.integers(1, 12),
    st.integers(1, 28),
    st.sampled_from(["T", "t"]),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    st.sampled_from(["", ".5", ".123456789012345", ",5", "x5", ".0000001"]),
    st.sampled_from(["Z", "z", "+09:00", "-00:00", "+23:59", "+24:00", "-99:99", "ZTgarbage"]),
)
"""What Kubernetes takes for a date-time: it looks at no more than the first two parts between Ts,
lets any character be the decimal point, and does not count an offset's hours."""


def values(schema: Schema, *, words: st.SearchStrategy[str] = _ODD) -> st.SearchStrategy[Any]:
    """Values of a schema; `words` are what a string without any rule may be, beside any text."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(-(2**31), 2**31 - 1), words, st.text(max_size=8))
    return _KINDS[schema["type"]](schema, words)


def _object(schema: Schema, words: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if not properties and "additionalProperties" in schema:
        most = schema.get("maxProperties", 3)
        inner = values(schema["additionalProperties"], words=words)
        return st.dictionaries(st.text(max_size=8), inner, max_size=min(most, 3))
    made = {name: values(inner, words=words) for name, inner in properties.items()}
    return st.fixed_dictionaries(
        {name: made[name] for name in required if name in made},
        optional={name: value for name, value in made.items() if name not in required},
    )


def _array(schema: Schema, words: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    most = min(schema.get("maxItems", 3), 3)
    inner = values(schema["items"], words=words)
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys:
        return st.lists(inner, max_size=most, unique_by=lambda item: tuple(item[k] for k in keys))
    return st.lists(inner, max_size=most)


def _string(schema: Schema, words: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("format") == "date-time":
        return _TIMES
    least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
    if "pattern" in schema:
        # Go's $ is the end of the text alone, and its \d a digit of ASCII.
        pattern = re.compile(schema["pattern"].replace("$", r"\Z"), re.ASCII)
        return st.from_regex(pattern).filter(lambda text: least <= len(text) <= most)
    return st.one_of(words, st.text(max_size=min(most, 20))).filter(
        lambda text: least <= len(text) <= most
    )


def _integer(schema: Schema, _: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1))


def _number(_: Schema, __: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30)
    )


_KINDS = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda *_: st.booleans(),
}
