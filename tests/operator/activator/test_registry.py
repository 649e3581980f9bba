"""When an open connection is in use. The sizes of its bytes are those of real clients."""

from rows import each

from kotatsu_operator.activator.answers import Answers
from kotatsu_operator.activator.registry import BUSY_FOR, MOST_BEATS, Traffic

NOW = 1000.0
TIMEOUT = 600.0

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

KEEPALIVES = {
    "PING of HTTP/2 (grpcio)": (17, 17),
    "PING of HTTP/2, from both sides": (34, 34),
    "PING of Redis (redis-py)": (14, 7),
    "PINGREQ of MQTT (paho)": (2, 2),
    "ping of a WebSocket (websockets)": (10, 6),
    "empty query of PostgreSQL (psycopg_pool)": (6, 11),
    "SELECT 1 (psycopg, asyncpg)": (14, 66),
}


BEATS = {
    "heartbeat of an app": (37, 37),
    "heartbeat of an app, under TLS 1.2": (66, 66),
    "ServerAliveInterval of SSH (chacha20-poly1305)": (52, 28),
    "PING of HTTP/2 under TLS 1.3": (39, 39),
    "PING of Redis under TLS 1.3": (36, 29),
    "SELECT 1 under TLS 1.2": (43, 95),
    "ping of a WebSocket under TLS 1.2": (39, 35),
}


def exchange(traffic, at, up, down):
    traffic.sent(up, at)
    traffic.received(down, at + 0.01)


def used(up=200, down=200, **how):
    """A connection with one exchange at NOW."""
    traffic = Traffic(**how)
    exchange(traffic, NOW, up, down)
    return traffic


def test_a_connection_on_which_nothing_ever_passed_is_idle():
    assert not Traffic().in_use(NOW, TIMEOUT)


def test_bytes_in_either_direction_make_it_busy_for_a_moment():
    sent, received = Traffic(), Traffic()
    sent.sent(1, NOW)
    received.sent(1, NOW - TIMEOUT)
    received.received(1, NOW)
    for traffic in (sent, received):
        assert traffic.is_busy(NOW + BUSY_FOR - 0.01, TIMEOUT)


def test_bytes_for_a_client_that_has_sent_nothing_are_no_use_of_the_pool():
    traffic = Traffic()
    traffic.received(1, NOW)
    traffic.took(2, NOW, is_full=True)
    traffic.took(1, NOW, is_full=True)
    assert not traffic.is_busy(NOW, TIMEOUT)
    assert not traffic.in_use(NOW, TIMEOUT)
    assert traffic.used_at < 0


# --- HTTP/1 ---


def http1(said=b"", at=NOW):
    """A connection with one request, and what was said to it."""
    traffic = Traffic(answers=Answers())
    traffic.sent(len(GET), at)
    traffic.answers.sent(GET)
    if said:
        traffic.received(len(said), at + 1)
        traffic.answers.received(said)
    return traffic


def test_an_http1_request_without_an_answer_is_busy_until_the_timeout():
    for said, last in (b"", NOW), (b"HTTP/1.1 102 Processing\r\n\r\n", NOW + 1):
        traffic = http1(said)
        assert traffic.is_busy(last + TIMEOUT - 1, TIMEOUT)
        assert not traffic.in_use(last + TIMEOUT, TIMEOUT)


def test_an_answer_that_has_begun_is_in_use_until_its_end_and_asks_for_no_more_pods():
    traffic = http1(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    assert traffic.in_use(NOW + TIMEOUT, TIMEOUT)
    assert not traffic.is_busy(NOW + 1 + BUSY_FOR, TIMEOUT)
    traffic.received(2, NOW + 60)
    traffic.answers.received(b"lf")
    assert not traffic.in_use(NOW + 60 + BUSY_FOR, TIMEOUT)


def test_a_whole_answer_is_in_use_until_its_client_has_taken_it():
    traffic = http1(WHOLE)
    traffic.took(100, NOW + 2, is_full=False)
    assert traffic.in_use(NOW + TIMEOUT, TIMEOUT)
    traffic.took(0, NOW + 3, is_full=False)
    assert not traffic.in_use(NOW + 3 + BUSY_FOR, TIMEOUT)


def test_nothing_is_in_use_once_the_pod_has_ended_whatever_the_client_has_not_taken():
    traffic = http1(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    traffic.took(100, NOW + 2, is_full=True)
    traffic.answers.end()
    assert not traffic.in_use(NOW + 2 + BUSY_FOR, TIMEOUT)


def test_each_byte_that_a_slow_client_takes_counts():
    traffic = Traffic()
    traffic.sent(99, NOW)
    traffic.received(10**6, NOW)
    for second in range(0, 6000, 60):
        traffic.took(10**6 - second, NOW + second, is_full=True)
    assert traffic.in_use(NOW + 6000, TIMEOUT)
    traffic.took(10**6 - second, NOW + 12000, is_full=True)
    assert not traffic.in_use(NOW + 12000, TIMEOUT)


def test_the_delay_of_a_network_makes_no_use_of_a_keepalive():
    traffic = used()
    for n in range(1, 60):
        exchange(traffic, NOW + 30 * n, 14, 7)
        traffic.took(7, NOW + 30 * n + 0.1, is_full=False)
        traffic.took(0, NOW + 30 * n + 0.2, is_full=False)
    assert not traffic.in_use(NOW + 30 * 59 + 0.3, TIMEOUT)


def test_bytes_that_wait_for_an_announcement_are_busy():
    traffic = http1(WHOLE)
    traffic.sent(200, NOW + 60)
    traffic.is_held = True
    assert traffic.is_busy(NOW + 60 + TIMEOUT - 1, TIMEOUT)


def test_an_http1_answer_as_small_as_a_keepalive_counts_each_time():
    traffic = used(18, 40, answers=Answers())
    exchange(traffic, NOW + 30, 18, 40)
    assert traffic.is_busy(NOW + 31, TIMEOUT)


# --- other protocols ---


@each("sizes", KEEPALIVES)
def test_a_keepalive_every_thirty_seconds_keeps_nothing_awake_for_ever(sizes):
    traffic = used()
    for n in range(1, 60):
        exchange(traffic, NOW + 30 * n, *sizes)
    first = NOW + 30.01
    assert traffic.used_at == first
    assert traffic.in_use(first + TIMEOUT - 1, TIMEOUT)
    assert not traffic.in_use(NOW + 30 * 59 + 0.02, TIMEOUT)


def test_neither_do_those_of_the_pod():
    traffic = used()
    for n in range(1, 60):
        traffic.received(6, NOW + 20 * n)
        traffic.sent(10, NOW + 20 * n + 0.01)
    assert not traffic.in_use(NOW + 20 * 59 + 0.02, TIMEOUT)


def test_nor_those_of_two_kinds_that_meet_now_and_then():
    traffic = used()
    for second in range(10, 7200, 10):
        for every, sizes in ((20, (10, 6)), (30, (23, 19))):
            if second % every == 0:
                exchange(traffic, NOW + second, *sizes)
    assert not traffic.in_use(NOW + 7200, TIMEOUT)


def test_a_keepalive_is_recognized_by_its_first_bytes_from_the_second_on():
    traffic = used()
    exchange(traffic, NOW + 30, 14, 7)
    exchange(traffic, NOW + 60, 14, 7)
    assert traffic.is_keepalive(14, NOW + 61)
    assert not traffic.is_keepalive(15, NOW + 90)
    assert not traffic.is_keepalive(200, NOW + 90)


@each("sizes", BEATS)
def test_a_beat_every_fifteen_seconds_keeps_nothing_awake_for_ever(sizes):
    traffic = used()
    for n in range(1, 80):
        exchange(traffic, NOW + 15 * n + 0.4 * (n % 2), *sizes)
    second = NOW + 30.01
    assert traffic.used_at == second
    assert traffic.in_use(second + TIMEOUT - 1, TIMEOUT)
    assert not traffic.in_use(NOW + 15 * 79 + 0.5, TIMEOUT)


def test_neither_do_two_beats_that_meet_now_and_then():
    traffic = used()
    for second in range(10, 7200, 10):
        sizes = [size for every, size in ((20, (66, 66)), (30, (39, 35))) if second % every == 0]
        if sizes:
            exchange(traffic, NOW + second, *map(sum, zip(*sizes, strict=True)))
    assert not traffic.in_use(NOW + 7200, TIMEOUT)


def test_a_beat_is_recognized_by_its_first_bytes_at_its_time():
    traffic = used()
    for n in range(1, 4):
        exchange(traffic, NOW + 15 * n, 37, 37)
    assert traffic.is_keepalive(37, NOW + 60)
    assert not traffic.is_keepalive(37, NOW + 52)
    assert not traffic.is_keepalive(38, NOW + 60)
    exchange(traffic, NOW + 60, 14, 7)
    assert traffic.is_keepalive(37, NOW + 60)


def test_requests_of_one_size_count_if_they_come_as_people_do():
    traffic = used()
    at = NOW
    for wait in (5, 31, 11, 44, 9, 25, 160, 3.5, 18, 71, 6, 300):
        at += wait
        exchange(traffic, at, 120, 80)
        assert traffic.used_at == at + 0.01


def test_a_call_of_regular_work_counts_each_time():
    """It is asked on the minute, and its answer takes ten seconds."""
    traffic = used()
    for n in range(1, 60):
        traffic.sent(120, NOW + 60 * n)
        assert traffic.is_busy(NOW + 60 * n + 9, TIMEOUT)
        traffic.received(80, NOW + 60 * n + 10)
        assert traffic.used_at == NOW + 60 * n + 10


def test_a_beat_that_is_not_answered_counts_and_so_does_a_large_one():
    for up, down in ((40, 0), (0, 40), (300, 40), (40, 300)):
        traffic = used()
        for n in range(1, 60):
            if up:
                traffic.sent(up, NOW + 15 * n)
            if down:
                traffic.received(down, NOW + 15 * n + 0.01)
        assert traffic.in_use(NOW + 15 * 60, TIMEOUT)


def test_no_more_sizes_are_remembered_than_a_connection_has_beats():
    traffic = used()
    for n in range(1, 1000):
        exchange(traffic, NOW + 15 * n, 35 + n % 200, 1 + n % 177)
    assert len(traffic._beats) <= MOST_BEATS


def test_a_small_request_of_another_size_counts():
    traffic = used()
    for n in (1, 2):
        exchange(traffic, NOW + 30 * n, 14, 7)
    exchange(traffic, NOW + 90, 26, 3)
    assert traffic.used_at == NOW + 90.01


def test_a_grpc_call_that_its_server_measures_by_a_ping_is_in_use_each_time():
    """grpcio: HEADERS and DATA of 61 bytes, a PING of the server at once, and its ACK."""
    traffic = Traffic()
    for n in range(5):
        at = NOW + 400 * n
        traffic.sent(61, at)
        traffic.received(17, at + 0.01)
        traffic.sent(17, at + 0.02)
        assert traffic.in_use(at + 300, TIMEOUT)
        traffic.received(68, at + 300)


def test_a_short_query_that_takes_its_time_counts_again_and_again():
    """Each answer comes after a minute, and the next query at once: 24 bytes, as the one before."""
    traffic = Traffic()
    for n in range(30):
        traffic.sent(24, NOW + 60 * n)
        assert traffic.is_busy(NOW + 60 * n + 59, TIMEOUT)
        traffic.received(65, NOW + 60 * n + 59.9)


def test_so_does_one_behind_a_short_statement_that_is_answered_at_once():
    traffic = Traffic()
    for n in range(30):
        at = NOW + 400 * n
        exchange(traffic, at, 11, 17)
        traffic.sent(20, at + 0.1)
        assert traffic.is_busy(at + 300, TIMEOUT)
        traffic.received(20, at + 301)
