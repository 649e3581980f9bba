"""The client inside the cluster: what it sends, and what its answers mean."""

import json

import pytest
from rows import each

from kotatsu_demo import speech
from kotatsu_demo.errors import DemoError


def output(status: int, body: bytes) -> bytes:
    return json.dumps({"status": status, "seconds": 0.5}).encode() + b"\n" + body


@each("status, body, said", [
    (503, b'{"detail": "full"}', "answered 503"),
    (0, b"refused", "answered nothing"),
    (200, b"{}", "no mp3"),
])  # fmt: skip
def test_anything_else_is_a_sentence(status: int, body: bytes, said: str):
    with pytest.raises(DemoError) as caught:
        speech.answer_from(output(status, body), "http://voice/voice")
    assert said in caught.value.report()
