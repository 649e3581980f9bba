"""Gauges that are found by a well-known name: they count the requests of the app alone."""

import asyncio

import pytest

from kotatsu_operator.controller.observe.pages import collect
from kotatsu_operator.core.exposition import GAUGE_NAMES, GAUGES, Silence, find_gauge, samples_of

APP, EXPORTER = 8080, 9113

ENVOY = """
# TYPE envoy_http_downstream_rq_active gauge
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="admin"} 1
envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="ingress_http"} %d
"""
NGINX = """
# TYPE nginx_connections_active gauge
nginx_connections_active 40
nginx_connections_reading 0
nginx_connections_waiting 38
nginx_connections_writing %d
"""
VLLM = """
vllm:num_requests_running{model_name="m"} %d.0
vllm:num_requests_waiting{model_name="m"} 0.0
"""
GO = """
promhttp_metric_handler_requests_in_flight 1
promhttp_metric_handler_requests_total{code="200"} 7
"""
SPRING = """
http_server_requests_active_seconds_active_count{method="GET",uri="UNKNOWN"} %d
http_server_requests_active_seconds_duration_sum{method="GET",uri="UNKNOWN"} 0.1
http_server_requests_seconds_count{uri="/hello"} 9
"""
MICROMETER_1_13 = """
http_server_requests_active_seconds_gcount{method="GET",uri="UNKNOWN"} %d
"""
OTEL = """
http_server_active_requests{http_request_method="GET",url_scheme="http"} %d
"""
FASTAPI = "http_requests_inprogress %d.0\n"


def found(page: str, port: int = EXPORTER):
    samples = asyncio.run(collect(samples_of(page, GAUGE_NAMES), asyncio.Lock()))
    return find_gauge(samples, port, [APP])


@pytest.mark.parametrize(
    "page", [ENVOY, VLLM, SPRING, MICROMETER_1_13, OTEL, FASTAPI], ids=str.split
)
def test_a_known_gauge_is_the_number_of_requests(page):
    assert [found(page % busy) for busy in (0, 3)] == [0, 3]


def test_nginx_always_writes_the_page_that_its_exporter_reads():
    assert [found(NGINX % writing) for writing in (0, 1, 4)] == [0, 0, 3]


def test_the_gauge_of_the_metrics_handler_itself_is_none():
    assert found(GO) is None


def test_a_page_without_any_is_none():
    assert found("python_info 1\n") is None


@pytest.mark.parametrize("page", [SPRING, OTEL, FASTAPI], ids=["spring", "otel", "fastapi"])
def test_a_gauge_that_counts_its_own_page_is_not_used_on_the_port_of_the_service(page):
    answer = found(page % 1, port=APP)
    assert isinstance(answer, Silence)
    assert answer.lacks
    assert "it counts the request for the page itself" in answer.why


@pytest.mark.parametrize("page", [ENVOY, VLLM], ids=["envoy", "vllm"])
def test_one_that_does_not_may_be_on_any_port(page):
    assert found(page % 2, port=APP) == 2


def test_a_gauge_without_a_finite_number_shows_nothing():
    answer = found("nginx_connections_writing NaN\n")
    assert isinstance(answer, Silence)
    assert not answer.lacks


def test_no_name_is_the_beginning_of_another():
    """Samples are found by the beginning of their lines."""
    assert not [(a, b) for a in GAUGE_NAMES for b in GAUGE_NAMES if a != b and b.startswith(a)]
    assert len(GAUGES) < 20, "each name is searched in each page"
