"""docs/how-to/check-your-app.md: what it says of each kind of app is shown by a test."""

# ruff: noqa: E501  (names of tests)

import re

from docs.pages import ROOT

SHOWN_BY = {
    "web app with a metric of its requests in flight": "tests/e2e/test_sleep.py::test_requests_between_any_two_steps_of_the_sleep_are_answered_once",
    "web app without one": "tests/e2e/test_route_activator.py::test_it_wakes_from_zero_stays_awake_in_use_and_sleeps_when_idle",
    "Spring Boot": "tests/apps/test_apps.py::test_a_spring_boot_app_is_counted_by_its_own_gauge_and_reached_directly",
    "Jupyter, WebSockets": "tests/apps/test_apps.py::test_a_jupyter_kernel_keeps_its_variables_while_a_cell_runs_longer_than_idle_after",
    "PostgreSQL, other SQL": "tests/apps/test_apps.py::test_a_transaction_of_60_quiet_seconds_commits",
    "MySQL, SMTP": "tests/operator/activator/test_server_first.py::test_a_client_that_waits_for_a_greeting_gets_that_of_a_ready_pod_at_once",
    "Redis": "tests/apps/test_apps.py::test_a_blocking_read_of_60_quiet_seconds_gets_its_element",
    "MQTT broker": "tests/apps/test_apps.py::test_a_subscriber_that_hears_nothing_for_40_seconds_gets_the_message_then",
    "large downloads": "tests/apps/test_apps.py::test_200_mb_arrive_whole_at_a_client_that_takes_30_seconds_for_them",
    "gRPC": "tests/apps/test_apps.py::test_a_grpc_call_that_is_quiet_for_60_seconds_is_answered",
    "several parts (web → api → db)": "tests/apiserver/test_order.py::test_under_load_they_start_in_order_and_sleep_in_reverse",
    "worker without requests": "tests/e2e/test_windows.py::test_both_replicas_are_ready_before_the_window_opens_and_gone_after_it_closes",
    "cron job": "tests/e2e/test_wake.py::test_fifty_requests_at_once_from_zero_are_all_answered_by_one_scale_up",
}


def test_each_kind_of_app_is_shown_by_a_test_that_is_there():
    page = (ROOT / "docs/how-to/check-your-app.md").read_text()
    assert re.findall(r"^\| (?!app \|)([^|]+) \|", page, re.MULTILINE) == list(SHOWN_BY)
    for kind, test in SHOWN_BY.items():
        path, _, function = test.partition("::")
        assert f"def {function}(" in (ROOT / path).read_text(), kind
