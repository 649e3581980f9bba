"""When an open connection is in use, by its bytes alone. The sizes are those of real clients."""

import pytest
from rows import each

from kotatsu_operator.activator.registry import MOVING_FOR, Traffic

NOW = 1000.0
TIMEOUT = 600.0

KEEPALIVES = {
    "PING of HTTP/2 (grpcio)": (17, 17),
    "PING of HTTP/2, from both sides": (34, 34),
    "PING of Redis (redis-py)": (14, 7),
    "PINGREQ of MQTT (paho)": (2, 2),
    "ping of a WebSocket (websockets)": (10, 6),
    "empty query of PostgreSQL (psycopg_pool)": (6, 11),
    "SELECT 1 (psycopg, asyncpg)": (14, 66),
}


def exchange(traffic, at, up, down):
    traffic.sent(up, at)
    traffic.received(b"x" * down, at + 0.01)


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
    received.received(b"x", NOW)
    for traffic in (sent, received):
        assert traffic.is_busy(NOW + MOVING_FOR - 0.01, TIMEOUT)


# --- HTTP/1 ---


def test_an_http1_request_without_an_answer_is_busy_until_the_timeout():
    traffic = Traffic(is_http1=True)
    traffic.sent(200, NOW)
    assert traffic.is_busy(NOW + TIMEOUT - 1, TIMEOUT)
    assert not traffic.in_use(NOW + TIMEOUT, TIMEOUT)


def test_a_chunked_answer_is_in_use_until_its_last_chunk():
    traffic = Traffic(is_http1=True)
    traffic.sent(200, NOW)
    traffic.received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", NOW + 1)
    assert traffic.in_use(NOW + 1 + TIMEOUT - 1, TIMEOUT)
    traffic.received(b"0\r\n\r\n", NOW + 60)
    assert not traffic.in_use(NOW + 60 + MOVING_FOR, TIMEOUT)


def test_an_http1_answer_as_small_as_a_keepalive_counts_each_time():
    traffic = used(18, 40, is_http1=True)
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
        traffic.received(b"x" * 6, NOW + 20 * n)
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
    assert traffic.is_keepalive(14)
    assert not traffic.is_keepalive(15)
    assert not traffic.is_keepalive(200)


def test_a_small_request_of_another_size_counts():
    traffic = used()
    for n in (1, 2):
        exchange(traffic, NOW + 30 * n, 14, 7)
    exchange(traffic, NOW + 90, 26, 3)
    assert traffic.used_at == NOW + 90.01


@pytest.mark.parametrize("times", [1, 5])
def test_a_grpc_call_that_its_server_measures_by_a_ping_is_in_use_each_time(times):
    """grpcio: HEADERS and DATA of 61 bytes, a PING of the server at once, and its ACK."""
    traffic = Traffic()
    for n in range(times):
        at = NOW + 400 * n
        traffic.sent(61, at)
        traffic.received(b"x" * 17, at + 0.01)
        traffic.sent(17, at + 0.02)
        assert traffic.in_use(at + 300, TIMEOUT)
        traffic.received(b"x" * 68, at + 300)


def test_a_short_query_that_takes_its_time_counts_again_and_again():
    """Each answer comes after a minute, and the next query at once: 24 bytes, as the one before."""
    traffic = Traffic()
    for n in range(30):
        traffic.sent(24, NOW + 60 * n)
        assert traffic.is_busy(NOW + 60 * n + 59, TIMEOUT)
        traffic.received(b"x" * 65, NOW + 60 * n + 59.9)


def test_so_does_one_behind_a_short_statement_that_is_answered_at_once():
    traffic = Traffic()
    for n in range(30):
        at = NOW + 400 * n
        exchange(traffic, at, 11, 17)
        traffic.sent(20, at + 0.1)
        assert traffic.is_busy(at + 300, TIMEOUT)
        traffic.received(b"x" * 20, at + 301)
