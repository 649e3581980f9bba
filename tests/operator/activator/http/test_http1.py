"""Following the requests of an open HTTP/1 connection, to end it between two of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.activator import head as http1
from kotatsu_operator.activator.head import PIPELINED, Requests, peek
from tests.operator.core.values import examples

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET /a HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n"
LAST_POST = b"POST /a HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12345"
POST = b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345"


def followed(*chunks):
    requests = Requests()
    for chunk in chunks:
        requests.follow(chunk)
    return requests


def test_a_request_at_the_end_is_asked_to_be_the_last():
    assert followed(GET, POST).ending(GET) == LAST_GET


def test_its_body_stays_as_it_is():
    assert followed(GET).ending(POST) == LAST_POST


def test_a_request_of_which_a_part_has_passed_already_stays_as_it_is():
    requests = followed(GET[:9])
    assert requests.ending(GET[9:]) == GET[9:]
    assert requests.ending(GET) == LAST_GET


def test_a_request_that_follows_the_rest_of_a_body_is_asked_to_be_the_last():
    assert followed(POST[:-3]).ending(b"345" + GET) == b"345" + LAST_GET


def test_what_comes_after_the_last_request_passes_no_further():
    requests = followed(GET)
    assert requests.ending(POST[:-3]) == LAST_POST[:-3]
    assert requests.follow(b"345" + GET) == b"345"
    assert requests.follow(GET) == requests.ending(GET) == b""


def test_a_request_whose_head_is_not_complete_is_not_begun_after_the_last():
    assert followed().ending(GET + POST[:9]) == LAST_GET


@pytest.mark.parametrize(
    "then",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"more",
    ],
    ids=["not plain", "an upgrade", "no request"],
)
def test_what_cannot_be_the_last_comes_after_the_last(then):
    assert followed().ending(GET + then + GET) == LAST_GET


def test_a_last_request_whose_end_is_not_known_keeps_everything_that_follows():
    chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    asked = chunked.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n")
    requests = followed()
    assert requests.ending(GET + chunked) == GET + asked
    assert requests.follow(b"12345\r\n0\r\n\r\n") == b"12345\r\n0\r\n\r\n"


def test_more_requests_than_clients_pipeline_are_followed_no_further():
    many = GET * PIPELINED
    assert followed(many).ending(GET) == LAST_GET
    assert followed(many + GET).ending(GET) == GET
    assert followed().ending(many + GET) == GET * (PIPELINED - 1) + LAST_GET


def test_a_read_full_of_tiny_requests_costs_as_few_steps_as_one_of_sixteen(monkeypatch):
    looked = []
    monkeypatch.setattr(
        http1, "peek", lambda data, *seen: looked.append(len(data)) or peek(data, *seen)
    )
    full = b"GET / HTTP/1.1\r\n\r\n" * 14_000
    requests = followed(full, full)
    assert requests.follow(full) == full
    assert len(looked) <= PIPELINED
    assert sum(looked) <= 18 * PIPELINED


@given(
    bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
@examples(200)
def test_however_the_bytes_are_cut_it_knows_where_a_request_begins(bodies, cuts):
    sent = b"".join(
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies
    )
    points = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces = [sent[a:b] for a, b in itertools.pairwise(points)]
    requests = followed(*pieces)
    assert requests.begins_in(GET)
    assert requests.ending(GET) == LAST_GET
