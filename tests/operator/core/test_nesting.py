"""JSON of any depth is read, and what is too deep is left out."""

import json

import pytest

from kotatsu_operator.core.nesting import DEEPEST, loads, shallow


def nested(levels, inner="1", before='{"a":', after="}"):
    return (before * levels + inner + after * levels).encode()


@pytest.mark.parametrize("data", [b"1", b'{"a": [1, {"b": "]}"}]}', nested(DEEPEST)])
def test_what_is_not_too_deep_stays_as_it_is(data):
    assert shallow(data) == data


@pytest.mark.parametrize(("before", "after"), [('{"a":', "}"), ("[", "]"), ('[{"a": ', "}]")])
def test_what_is_too_deep_is_null_and_what_is_beside_it_stays(before, after):
    data = b'{"deep": %b, "beside": ["x", {}]}' % nested(9_999, "1", before, after)
    found = json.loads(shallow(data))
    assert found["beside"] == ["x", {}]
    levels, part = 1, found["deep"]
    while part is not None:
        levels, part = levels + 1, part["a"] if isinstance(part, dict) else part[0]
    assert levels == DEEPEST


def test_brackets_in_a_text_are_no_levels():
    text = '[{"' * 1000 + "\\" * 3
    data = json.dumps([text, {text: [text]}]).encode()
    assert json.loads(shallow(data)) == [text, {text: [text]}]


def test_json_of_any_depth_is_read():
    assert loads(b'[%b, "x"]' % nested(50_000))[1] == "x"


def test_what_is_no_json_is_a_value_error():
    with pytest.raises(ValueError, match="Expecting"):
        loads(b"{")
