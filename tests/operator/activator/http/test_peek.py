"""What the first bytes of a connection say, and the Connection header the pods see."""

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.activator.head import (
    HEAD_LIMIT,
    Kind,
    Peek,
    ask_to_close,
    peek,
)
from tests.operator.core.values import examples

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


_PIECES = st.one_of(
    st.sampled_from([b"GET", b"PRI", b"POST ", b" ", b"/", b"/healthz", b"?", b"*", b" HTTP/1.1"]),
    st.sampled_from(
        [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Connection: close", b"a", b":", b"\x16"]
    ),
)
_NEARLY_HTTP = st.lists(_PIECES, max_size=12).map(b"".join)
_REQUESTS = st.builds(
    b"%b %b HTTP/1.1%b%b%bbody".__mod__,
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"DELETE"]),
        st.sampled_from([b"/", b"/a?b", b"*", b"http://h/"]),
        st.sampled_from([b"\r\n", b"\n"]),
        st.sampled_from([b"", b"Host: a\r\n", b"Host: a\nB: c\n", b"X: \r\r\n"]),
        st.sampled_from([b"\r\n", b"\n"]),
    ),
)


_CUTS = st.sets(st.integers(1, 80), max_size=80)


@given(data=st.one_of(st.binary(max_size=80), _NEARLY_HTTP))
@examples(80)
def test_no_bytes_make_it_raise(data):
    peek(data)
    ask_to_close(data)


@given(data=st.one_of(_REQUESTS, _NEARLY_HTTP, st.binary(max_size=60)), cuts=_CUTS)
@examples(80)
def test_however_the_bytes_are_cut_the_same_is_seen_in_the_end(data, cuts):
    """What is certain after some bytes stays certain, and nothing is read twice to find out."""
    seen, known = Peek(Kind.UNKNOWN), 0
    for end in sorted({*cuts, len(data)}):
        before, so_far = seen, bytearray(data[:end])
        seen = peek(so_far, before, known)
        known = len(so_far)
        if before.path:
            assert seen.path == before.path
    assert seen == peek(data)


# --- asking for the end of the connection ---


def test_a_request_that_switches_protocols_is_left_alone():
    head = b"GET / HTTP/1.1\r\nConnection: close\r\nA: b\r\nconnection: UPGRADE\r\n\r\n"
    assert ask_to_close(head) == head


_NAMES = st.sampled_from([b"Host", b"Cookie", b"Content-Length", b"Te", b"Connection", b"X-Y"])
_VALUES = st.text("abc,;= \t:", max_size=12).map(str.encode)
_HEADERS = st.lists(st.builds(lambda name, value: name + b": " + value, _NAMES, _VALUES))


@given(headers=_HEADERS)
@examples(60)
def test_every_other_header_stays_byte_for_byte_and_in_order(headers):
    head = b"\r\n".join([b"GET /a?b HTTP/1.1", *headers, b"", b""])
    request, connection, *rest = ask_to_close(head).split(b"\r\n")
    assert request == b"GET /a?b HTTP/1.1"
    assert connection.startswith(b"Connection: ")
    assert connection.endswith(b"close")
    assert rest == [h for h in [*headers, b"", b""] if not h.startswith(b"Connection:")]


def test_the_body_that_came_with_the_head_is_not_part_of_it():
    data = b"POST / HTTP/1.1\r\nContent-Length: 21\r\n\r\nConnection: upgrade\r\n"
    assert data[peek(data).head_end :] == b"Connection: upgrade\r\n"
