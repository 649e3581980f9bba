"""Gauges that are found by a well-known name: they count the requests of the app alone."""

import asyncio
import contextlib

from rows import each

from kotatsu_operator.controller.pages import collect
from kotatsu_operator.core.exposition import GAUGE_NAMES, GAUGES, Silence, find_gauge, samples_of
from tests.gauges.real import NAMES, OWN_PAGE, served

APP, EXPORTER = 8080, 9113

GO = """
promhttp_metric_handler_requests_in_flight 1
promhttp_metric_handler_requests_total{code="200"} 7
"""
BOOT_2_AND_3_0 = """
http_server_requests_active_seconds_active_count{method="GET",uri="UNKNOWN"} %d
http_server_requests_active_seconds_duration_sum{method="GET",uri="UNKNOWN"} 0.1
http_server_requests_seconds_count{uri="/hello"} 9
"""


def found(page: str, port: int = EXPORTER):
    samples = asyncio.run(collect(samples_of(page, GAUGE_NAMES), contextlib.nullcontext))
    return find_gauge(samples, port, [APP])


@each("name", NAMES)
def test_the_page_of_a_real_program_shows_its_requests_in_flight(name):
    assert [found(page) for page in served(name)] == [0, 3]


def test_the_name_that_spring_boot_had_before_3_3_is_found():
    assert [found(BOOT_2_AND_3_0 % busy) for busy in (0, 3)] == [0, 3]


def test_nginx_always_writes_the_page_that_its_exporter_reads():
    idle, busy = served("nginx")
    assert "nginx_connections_writing 1\n" in idle
    assert "nginx_connections_writing 4\n" in busy
    assert found("nginx_connections_writing 0\n") == 0


@each("page", {"of another kind": "python_info 1\n", "of the metrics handler itself": GO})
def test_a_page_with_other_gauges_has_none(page):
    assert found(page) is None


@each("name", OWN_PAGE)
def test_a_gauge_that_counts_its_own_page_is_not_used_on_the_port_of_the_service(name):
    answer = found(served(name)[1], port=APP)
    assert isinstance(answer, Silence)
    assert answer.lacks
    assert "it counts the request for the page itself" in answer.why


@each("name", sorted({*NAMES} - {*OWN_PAGE}))
def test_one_that_does_not_may_be_on_any_port(name):
    assert found(served(name)[1], port=APP) == 3


def test_a_gauge_without_a_finite_number_shows_nothing():
    answer = found("nginx_connections_writing NaN\n")
    assert isinstance(answer, Silence)
    assert not answer.lacks


def test_no_name_is_the_beginning_of_another():
    """Samples are found by the beginning of their lines."""
    assert not [(a, b) for a in GAUGE_NAMES for b in GAUGE_NAMES if a != b and b.startswith(a)]
    assert len(GAUGES) < 20, "each name is searched in each page"
