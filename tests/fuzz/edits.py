"""Values of a schema after an edit by hand: some parts are replaced by any JSON."""

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**400, -1, 2**63, 1e308]),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["2026-11-25T10:00:00Z", "9999-12-31T23:59:59-12:00", "1h", "Warm", "5"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)


@st.composite
def edited(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:
    """A value with up to three of its parts replaced; one in a while all of it."""
    root = {"": deepcopy(draw(values))}
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(root))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        holder[key] = draw(ANYTHING)
    return root[""]


def _places(value: Any) -> Any:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(inner):
        yield value, key
        if isinstance(part, dict | list):
            yield from _places(part)
