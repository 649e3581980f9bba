"""HTTP/1 heads: what the first bytes say, and how a connection is ended between two requests."""

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.activator import head
from kotatsu_operator.activator.head import HEAD_LIMIT, PIPELINED, Kind, Peek, Requests, peek

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
UPGRADE = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def followed(*chunks):
    requests = Requests()
    for chunk in chunks:
        requests.follow(chunk)
    return requests


@each(
    "before, read, passes",
    {
        "after others": ([GET, POST], GET, LAST_GET),
        "with a body": ([GET], POST, LAST_POST),
        "after the rest of a body": ([POST[:-3]], b"345" + GET, b"345" + LAST_GET),
        "before half a head": ([], GET + POST[:9], LAST_GET),
        "before bare LF": ([], GET + b"GET / HTTP/1.1\nHost: a\n\n" + GET, LAST_GET),
        "before an upgrade": ([], GET + UPGRADE + GET, LAST_GET),
        "before no request": ([], GET + b"more" + GET, LAST_GET),
        "as many as are pipelined": ([GET * PIPELINED], GET, LAST_GET),
    },
)
def test_the_last_request_that_is_certain_is_asked_to_be_the_last(before, read, passes):
    assert followed(*before).ending(read) == passes


def test_a_request_of_which_a_part_has_passed_already_stays_as_it_is():
    requests = followed(GET[:9])
    assert requests.ending(GET[9:]) == GET[9:]
    assert requests.ending(GET) == LAST_GET


def test_what_comes_after_the_last_request_passes_no_further():
    requests = followed(GET)
    assert requests.ending(POST[:-3]) == LAST_POST[:-3]
    assert requests.follow(b"345" + GET) == b"345"
    assert requests.follow(GET) == requests.ending(GET) == b""


def test_a_last_request_whose_end_is_not_known_keeps_everything_that_follows():
    chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    asked = chunked.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n")
    requests = followed()
    assert requests.ending(GET + chunked) == GET + asked
    assert requests.follow(b"12345\r\n0\r\n\r\n") == b"12345\r\n0\r\n\r\n"


def test_more_requests_than_clients_pipeline_are_followed_no_further():
    many = GET * PIPELINED
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


FRAMING = ["content-length", "transfer-encoding", "expect", "upgrade", "connection", "cookie"]
NAMES = st.sampled_from(FRAMING).flatmap(
    lambda name: st.sampled_from([name, name.title(), name.upper(), name.replace("-", "_")])
)
VALUES = st.sampled_from(["0", "5", "chunked", "100-continue", "keep-alive, UPGRADE", "h2c", ""])


@given(
    st.sampled_from(["GET", "HEAD", "POST", "CONNECT"]),
    st.lists(st.tuples(NAMES, st.sampled_from([":", ": ", " : ", ""]), VALUES), max_size=3),
    st.sampled_from(["\r\n", "\n"]),
    st.sampled_from(["\r\n\r\n", "\r\n", "\r\n\r\n12345"]),
)
def test_one_whole_request_is_a_plain_head_without_any_word_of_a_body(method, fields, line, end):
    lines = [f"{method} /a HTTP/1.1", *map("".join, fields)]
    data = (line.join(lines) + end).encode()
    requests = followed(data)
    if requests.is_whole:
        assert head.is_plain(data)
        assert method != "CONNECT"
        for name, _, value in fields:
            is_kept = name.lower() == "connection" and "UPGRADE" not in value
            assert is_kept or name.lower() == "cookie"


def test_what_a_browser_asks_for_is_one_whole_request():
    names = b"Cookie: a=b\r\nConnection: keep-alive\r\nUser-Agent: a\r\nCache-Control: no-cache\r\n"
    assert followed(GET[:-2] + names + b"\r\n").is_whole
