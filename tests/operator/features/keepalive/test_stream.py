"""Who asks for a stream, and what the client of one gets for any answer."""

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.activator.head import refusal
from kotatsu_operator.features.keepalive.stream import (
    Stream,
    asks,
    body_to_read,
    plain_answer,
)
from tests.operator.core.values import examples

EVENTS = b"data: 1\n\ndata: [DONE]\n\n"
OF_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = (
    OF_EVENTS + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n"
)
END = b"0\r\n\r\n"
JSON = "Content-Type: application/json"
ACCEPT = "Accept: application/json, text/event-stream"


def request(*lines, body=b"", method="POST", version="1.1"):
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} /v1/chat HTTP/{version}", "Host: llm", *lines, *length, "", ""]
    return "\r\n".join(head).encode(), body


def said(answer):
    """The body of a whole HTTP/1 response, as a strict client reads it."""
    client = h11.Connection(our_role=h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "llm")]))
    client.receive_data(answer)
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            assert b"chunked" not in answer[:400], "the answer has no end"
            client.receive_data(b"")
        body += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert client.trailing_data[0] == b""
    return body


def of(*parts, ended=True, version="1.1"):
    """What a client has read that got these parts after a comment."""
    stream = Stream(request(ACCEPT, version=version)[0])
    rest = b"".join(map(stream.received, parts)) + (stream.ended() if ended else b"")
    body = said(stream.begin + stream.comment + rest)
    comment = b": waiting for a pod\n\n"
    assert body.startswith(comment)
    return body.removeprefix(comment)


def error_of(*parts, **how):
    events = of(*parts, **how)
    assert events.endswith(b"\n\n")
    last = events.strip().split(b"\n\n")[-1]
    return json.loads(last.removeprefix(b"data: "))["error"]


@pytest.mark.parametrize(
    ("sent", "is_asked"),
    [
        (request(ACCEPT, method="GET"), True),
        (request("accept: TEXT/EVENT-STREAM", JSON, body=b"{}"), True),
        (request(JSON, body=b'{"model": "m", "stream": true}'), True),
        (request("content-type: application/json; charset=utf-8", body=b'{"stream":true}'), True),
        (request(JSON, body=b'{"stream": false}'), False),
        (request(JSON, body=b'{"stream": "true"}'), False),
        (request(JSON, body=b'{"messages": [{"stream": true}]}'), False),
        (request(JSON, body=b'{"text": "\\"stream\\": true"}'), False),
        (request(JSON, body=b'["stream", true]'), False),
        (request(JSON, body=b"[" * 60_000), False),
        (request(JSON, body=b'{"stream": true'), False),
        (request(JSON, body=b'\xff{"stream": true}'), False),
        (request(JSON, body=b'{"image": "' + b"A" * 5_000_000 + b'", "stream": true}'), True),
        (request(JSON, body=b'{"stream": true, "image": "' + b"A" * 2**24 + b'"}'), False),
        (request(JSON, body=b'{"stream": true, ' + b'"a": 1,' * 60_000 + b'"b": 1}'), False),
        (request(JSON, body=b'{"stream": true, "stream": false}'), False),
        (request(JSON, body=b' {"mode": "stream", "a": ["\\\\"], "stream" : true }'), True),
        (request(JSON, body=b'{"a\\": {\\"stream\\": true, ": 1}'), False),
        (request(JSON, body=b'{"\\"stream": true}'), False),
        (request(JSON, body=b'{"stream": true' + b'"' * 50_000), False),
        (request("Content-Type: text/plain", body=b'{"stream": true}'), False),
        (request(ACCEPT, method="GET", version="1.0"), True),
        (request(ACCEPT, method="HEAD"), False),
        ((request(ACCEPT, method="GET")[0], b"GET /second HTTP/1.1\r\n\r\n"), False),
        (request(ACCEPT, "Transfer-Encoding: chunked"), False),
        (request(ACCEPT, "Expect: 100-continue", body=b"x"), False),
        (request(ACCEPT, "Upgrade: websocket", "Connection: upgrade"), False),
        (request(ACCEPT, " folded: x"), False),
        (request(JSON, "Transfer-Encoding: chunked", body=b'{"stream": true}'), False),
    ],
)
def test_a_stream_is_asked_for_by_accept_or_by_a_field_of_the_whole_body(sent, is_asked):
    head, body = sent
    assert (body_to_read(head) is not None and asks(head, body)) is is_asked


def test_the_pod_is_asked_for_no_compression_by_a_head_that_is_as_long():
    head, _ = request("Accept-Encoding: gzip, br", "X-Accept-Encoding: a", JSON)
    plain = plain_answer(head)
    assert len(plain) == len(head)
    assert plain == head.replace(b" gzip, br", b" " * 9)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + END,
        OF_EVENTS + b"Content-Length: 23\r\n\r\n" + EVENTS,
        OF_EVENTS + b"\r\n" + EVENTS,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 .\r\nLink: x\r\n\r\n" + CHUNKED + END,
    ],
    ids=["chunked", "with length", "until the end", "after interim answers"],
)
def test_the_events_of_the_pod_follow_whatever_pieces_they_come_in(answer, size):
    parts = [answer[at : at + size] for at in range(0, len(answer), size)]
    assert of(*parts) == EVENTS
    assert of(*parts, version="1.0") == EVENTS


def test_what_follows_the_end_is_dropped():
    assert of(CHUNKED + END, CHUNKED + END) == EVENTS
    assert of(CHUNKED + END + b"what?") == EVENTS


def test_json_becomes_one_event():
    body = b'{"jsonrpc": "2.0",\r\n "result": {}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n"
    (event,) = of(head, body).split(b"\n\n")[:-1]
    assert json.loads(event.removeprefix(b"data: ")) == json.loads(body)


@pytest.mark.parametrize(
    ("answer", "events"),
    [
        (b"201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
         b"data: {}\n\n"),
        (b"202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n", b""),
        (b"202 Accepted\r\nContent-Length: 0\r\n\r\n", b""),
        (b"204 No Content\r\n\r\n", b""),
        (b"200 OK\r\nContent-Type: application/json\r\nContent-Encoding: identity\r\n\r\n[1]",
         b"data: [1]\n\n"),
        (b"200 OK\r\nContent-Type: text/event-stream\r\ncontent-encoding: Identity\r\n\r\n"
         + EVENTS, EVENTS),
    ],
)  # fmt: skip
def test_a_success_is_passed_on_as_what_it_is(answer, events):
    assert of(b"HTTP/1.1 " + answer) == events


def test_an_error_of_the_app_becomes_an_event_with_its_own_error():
    own = {"message": "no such model", "type": "NotFoundError", "param": None, "code": 404}
    body = json.dumps({"error": own}).encode()
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    assert error_of(head % len(body), body) == own


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"500 X\r\nContent-Length: 4\r\n\r\noops",
         "the app answered 500, which is no stream: oops"),
        (b'422 X\r\nContent-Length: 17\r\n\r\n{"detail":"ohno"}', "ohno"),
        (b"304 X\r\n\r\n", "the app answered 304, which is no stream"),
        (b"201 X\r\nContent-Length: 4\r\n\r\nmade",
         "the app answered 201, which is no stream: made"),
        (b"200 OK\r\nContent-Type: text/html\r\n\r\n<p>",
         "the app answered 200, which is no stream: <p>"),
        (b"200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n\x1f",
         "the app answered 200, which is no stream"),
        (b"what?", "the answer of the app is not understood"),
        (b"101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
         "the answer of the app is not understood"),
        (b"", "the app ended before its answer was complete"),
    ],
)  # fmt: skip
def test_any_other_answer_becomes_an_event_that_says_so(answer, message):
    begin = b"" if answer == b"" else b"HTTP/1.1 "
    found = error_of(begin + answer)
    assert (found["message"], found["type"]) == (message, "server_error")


def test_a_long_error_is_cut():
    head = b"HTTP/1.1 500 X\r\nContent-Type: text/plain\r\n\r\n"
    assert len(error_of(head, b"x" * 100_000)["message"]) == 500


def test_an_answer_that_is_cut_ends_with_an_error_in_an_event_of_its_own():
    cut = OF_EVENTS + b"Content-Length: 100\r\n\r\n" + EVENTS[:14]
    assert of(cut).startswith(EVENTS[:14] + b"\n\ndata: {")
    assert error_of(cut)["code"] == 502


LINE = b"a: b\r\n"


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", LINE * 10_000, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\na: ", b"x" * 50_000, id="one header"),
        pytest.param(CHUNKED + b"0\r\n", LINE * 10_000, id="trailers"),
        pytest.param(CHUNKED + b"1;", b"x" * 50_000, id="the length of a chunk"),
    ],
)
def test_a_head_that_never_ends_is_not_kept(begin, part):
    found = error_of(begin, part, part, part, ended=False)
    assert found["message"] == "the answer of the app is not understood"


def test_a_refusal_of_the_activator_becomes_an_event_with_its_reason():
    found = error_of(refusal("no pod of this pool became ready in time", 30), ended=False)
    assert (found["message"], found["code"]) == ("no pod of this pool became ready in time", 503)


@given(
    data=st.lists(st.binary(max_size=80) | st.sampled_from([CHUNKED, OF_EVENTS, END]), max_size=5)
)
@examples(200)
def test_whatever_a_pod_says_its_client_reads_one_whole_answer(data):
    of(*data)
