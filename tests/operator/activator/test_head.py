"""HTTP/1 heads: what the first bytes say, and how a connection is ended between two requests."""

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.activator import head
from kotatsu_operator.activator.head import (
    HEAD_LIMIT,
    PIPELINED,
    Kind,
    Peek,
    Requests,
    peek,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16030100a5010000a10303")

UNKNOWN, OTHER = Peek(Kind.UNKNOWN), Peek(Kind.OTHER)


def http1(path, head_end=0):
    return Peek(Kind.HTTP1, path, head_end)


# --- what it is ---


@each(
    "data, seen",
    [
        (b"", UNKNOWN),
        (b"G", UNKNOWN),
        (b"GET", UNKNOWN),
        (b"GET /heal", UNKNOWN),
        (b"GET / HTTP/1.1\r", UNKNOWN),
        (b"GET / HTTP/1.1\r\n", http1("/")),
        (b"GET / HTTP/1.1\n", http1("/")),
        (b"GET / HTTP/1.1\r\n\r\n", http1("/", 18)),
        (b"GET / HTTP/1.1\n\n", http1("/", 16)),
        (b"GET / HTTP/1.1\r\n\n", http1("/", 17)),
        (b"GET / HTTP/1.1\n\r\n", http1("/", 17)),
        (b"GET /a HTTP/1.0\r\nHost: b\r\n\r\n", http1("/a", 28)),
        (b"GET /a HTTP/1.0\r\nHost: b\r\n\r", http1("/a")),
        (b"POST /voice?x=1 HTTP/1.1\r\n\r\ntext=a\r\n\r\n", http1("/voice", 28)),
        (b"GET /healthz?full HTTP/1.1\r\n", http1("/healthz")),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", http1("*", 22)),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", http1("a:1", 24)),
        (b"GET http://a/healthz HTTP/1.1\r\n", http1("http://a/healthz")),
        (b"GET /\xe3\x81\x93 HTTP/1.1\r\n", http1("/ã\x81\x93")),
        (b"PROPFIND / HTTP/1.1\r\n\r\n", http1("/", 23)),
        (b"PRI * HTTP/1.1\r\n\r\n", http1("*", 18)),
    ],
)
def test_it_reads_the_path_and_the_end_of_an_http1_head(data, seen):
    assert peek(data) == seen


@each(
    "data",
    [
        CLIENT_HELLO,
        PREFACE,
        b"\x00",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /\r\n",
        b"GET\r\n\r\n",
        b"GET\n",
        b"GET ?path HTTP/1.1\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b"A" * 21,
        b"SSH-2.0-OpenSSH\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ],
)
def test_anything_but_a_clear_http1_request_is_other(data):
    assert peek(data) == OTHER


def test_a_probe_path_is_not_read_into_a_path_that_only_resembles_it():
    for target in (b"/healthz/", b"//healthz", b"/healthz%3f", b"/HEALTHZ", b"/healthz;a"):
        assert peek(b"GET %b HTTP/1.1\r\n" % target).path == target.decode()


@given(cut=st.integers(0, len(PREFACE)))
def test_the_http2_preface_is_never_http1_however_it_arrives(cut):
    seen = peek(PREFACE[:cut])
    assert seen == (UNKNOWN if cut < 16 else OTHER)


def test_a_request_line_without_an_end_is_given_up_at_the_limit():
    assert peek(b"GET /" + b"a" * (HEAD_LIMIT - 5)) == UNKNOWN
    assert peek(b"GET /" + b"a" * (HEAD_LIMIT - 4)) == OTHER


def test_a_head_without_an_end_is_given_up_at_the_limit():
    begin = b"GET / HTTP/1.1\r\nA: "
    assert peek(begin + b"a" * (HEAD_LIMIT - len(begin))) == http1("/")
    assert peek(begin + b"a" * (HEAD_LIMIT + 1 - len(begin))).kind is Kind.OTHER


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


@each(
    "then",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"more",
    ],
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
        head, "peek", lambda data, *seen: looked.append(len(data)) or peek(data, *seen)
    )
    full = b"GET / HTTP/1.1\r\n\r\n" * 14_000
    requests = followed(full, full)
    assert requests.follow(full) == full
    assert len(looked) <= PIPELINED
    assert sum(looked) <= 18 * PIPELINED
