"""Which requests are answered to their end, however the bytes are cut into reads."""

import pytest
from rows import each

from kotatsu_operator.activator.answers import MOST_ASKED, Answers

GET, HEAD = (b"%s / HTTP/1.1\r\nHost: a\r\n\r\n" % method for method in (b"GET", b"HEAD"))
POST = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
CHUNKED_POST = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
CONNECT = b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nhi"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"

ANSWERED = {
    "of a length": (GET, TWO),
    "of no length": (GET, OK + b"Content-Length: 0\r\n\r\n"),
    "of HTTP/1.0": (
        b"GET / HTTP/1.0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "in chunks": (GET, CHUNKED + b"1\r\na\r\n0a;why=so\r\n0123456789\r\n0\r\n\r\n"),
    "in chunks that look like the last one": (GET, CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    "with trailers": (GET, CHUNKED + b"1\r\na\r\n0\r\nETag: a\r\nExpires: 0\r\n\r\n"),
    "after an interim answer": (GET, EARLY + EARLY + TWO),
    "after 102 with a length": (
        GET,
        b"HTTP/1.1 102 Processing\r\nContent-Length: 9\r\n\r\n" + TWO,
    ),
    "with 204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "with 304 and a length": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    "to HEAD": (HEAD, OK + b"Content-Length: 99\r\n\r\n"),
    "to HEAD without a length": (HEAD, OK + b"\r\n"),
    "to HEAD in chunks": (HEAD, CHUNKED),
    "to HEAD with 204": (HEAD, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "to HEAD after an interim answer": (HEAD, EARLY + OK + b"Content-Length: 99\r\n\r\n"),
    "to HEAD between two others": (
        GET + HEAD + GET,
        CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n" + OK + b"Content-Length: 9\r\n\r\n" + TWO,
    ),
    "to a body that was asked for": (POST + b"body", b"HTTP/1.1 100 Continue\r\n\r\n" + TWO),
    "to a body in chunks": (CHUNKED_POST + b"4\r\nbody\r\n0\r\nA: b\r\n\r\n", TWO),
    "to several requests": (GET + POST + b"body" + GET, TWO + TWO + TWO),
    "to an upgrade, with a refusal": (UPGRADE + GET, TWO + TWO),
    "to a request behind an empty line": (POST + b"body\r\n" + GET, TWO + TWO),
    "before the request is complete, which then ends": (POST + b"body", TWO),
}

AWAITED = {
    "half a request": (b"GET / HT", b""),
    "no answer": (GET, b""),
    "an interim answer": (GET, EARLY),
    "a call for the body": (POST + b"body", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "half a head": (GET, CHUNKED[:30]),
    "half the body of the request": (POST + b"bo", TWO),
    "one answer to two": (GET + GET, TWO),
    "one answer to two, HEAD first": (HEAD + GET, OK + b"Content-Length: 99\r\n\r\n"),
}

BEGUN = {
    "a length that is not reached": (GET, TWO[:-1]),
    "a head without a length": (GET, OK + b"\r\nand so on"),
    "a head of HTTP/1.0 without a length": (GET, b"HTTP/1.0 200 OK\r\n\r\ndata: 1\n\n"),
    "no last chunk": (GET, CHUNKED + b"3\r\n0\r\n\r\n"),
    "half a last chunk": (GET, CHUNKED + b"0\r\n"),
    "trailers without an end": (GET, CHUNKED + b"0\r\nExpires: 0\r\n"),
    "the second of two": (GET + GET, TWO + TWO[:-1]),
}

OTHER = {
    "an upgrade": (UPGRADE, UPGRADED + b"\x81\x02hi"),
    "an upgrade that was not asked for": (GET, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "a tunnel": (CONNECT, OK + b"\r\n"),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00", b""),
    "no answer of HTTP": (GET, b"220 welcome\r\n"),
    "an answer that nobody asked for": (GET, TWO + TWO),
    "two lengths": (GET, OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi"),
    "a length and chunks": (
        GET, OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "a chunk without a size": (GET, CHUNKED + b"hi\r\n"),
    "a method of its own": (b"FETCH / HTTP/1.1\r\n\r\n", b""),
}  # fmt: skip


def cuts(data):
    """The bytes in one read, in two at each place, and one by one."""
    yield [data]
    yield from ([data[:at], data[at:]] for at in range(1, len(data)))
    yield [data[at : at + 1] for at in range(len(data))]


def followed(asked, said):
    """What is left after these reads of both sides; None if some are not understood."""
    answers = Answers()
    for data in asked:
        answers.sent(data)
    for data in said:
        answers.received(data)
    return None if answers.is_lost else answers


def every_way(asked, said):
    yield from (followed(reads, [said]) for reads in cuts(asked))
    yield from (followed([asked], reads) for reads in cuts(said))


@each("asked, said", ANSWERED)
def test_an_answer_is_followed_to_its_end(asked, said):
    for answers in every_way(asked, said):
        assert (list(answers.asked), answers.is_answering, answers.is_asking) == ([], False, False)


@each("asked, said", AWAITED)
def test_a_client_waits_until_its_answer_begins(asked, said):
    for answers in every_way(asked, said):
        assert answers.is_asking or (answers.asked and not answers.is_answering)


@each("asked, said", BEGUN)
def test_an_answer_that_has_begun_goes_on(asked, said):
    for answers in every_way(asked, said):
        assert answers.asked
        assert answers.is_answering


def test_a_request_that_is_known_to_be_whole_counts_like_one_that_is_parsed():
    answers = Answers()
    for request in (GET, HEAD):
        answers.sent(request, is_whole=True)
    answers.sent(POST + b"bo")
    answers.received(TWO + OK + b"Content-Length: 99\r\n\r\n")
    assert (list(answers.asked), answers.is_asking) == ([False], True)
    answers.sent(GET, is_whole=True)  # within a body
    assert answers.is_lost


@each("asked, said", OTHER)
def test_what_is_not_understood_is_said(asked, said):
    assert set(every_way(asked, said)) == {None}


def test_nothing_is_open_once_the_pod_has_ended():
    answers = followed([POST + b"bo"], [OK + b"\r\nand so on"])
    answers.end()
    assert (list(answers.asked), answers.is_answering, answers.is_asking) == ([], False, False)
    answers.sent(GET)
    answers.received(TWO)
    assert (len(answers.asked), answers.is_lost) == (0, False)


def test_a_client_that_asks_without_end_is_not_followed():
    assert followed([GET * MOST_ASKED], []) is not None
    assert followed([GET * (MOST_ASKED + 1)], []) is None


def test_no_request_is_forgotten_though_each_is_an_upgrade():
    assert len(followed([UPGRADE * MOST_ASKED], []).asked) == MOST_ASKED


@pytest.mark.parametrize("first", [GET, HEAD])
def test_many_ends_of_heads_beside_a_head_request_are_not_searched(first):
    assert (
        followed([first + HEAD], [OK + b"Content-Length: 99999\r\n\r\n" + b"\r\n" * 9999]) is None
    )
