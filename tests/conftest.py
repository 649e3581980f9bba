"""What is true of every run of tests."""

import gc
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from needs import SKIP_NOTHING

# Of a property's examples, `make check` tries the first tenth, `make test` all (`examples` in
# tests/operator/core/values.py).
settings.register_profile("few", settings.get_profile("ci"), max_examples=10)

# Thousands of tests and all libraries are made once and stay. To look through them for garbage is a
# sixth of the time in which they are collected, and a share of the time of each test.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what the tests make themselves is looked through, and not so often."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


class Failures:
    """Names each test that fails when it does: a run may go on for half an hour."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """The workers of a run tell its controller, which names what fails."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped, a test fails that needs what this machine lacks."""
    report = yield
    reason = (
        str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else ""
    )
    if os.environ.get(SKIP_NOTHING) and reason.startswith("Skipped: needs "):
        report.outcome, report.longrepr = "failed", reason.removeprefix("Skipped: ")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason to skip, however many tests had it."""
    skipped = terminalreporter.getreports("skipped")
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    for reason, number in sorted(reasons.items()):
        terminalreporter.write_line(f"SKIPPED {number}: {reason}", yellow=True)
    # The workers of a run have summaries of their own, which are not shown.
    is_worker = hasattr(terminalreporter.config, "workerinput")
    if (noted := os.environ.get("KOTATSU_LEFT_OUT")) and not is_worker:
        with Path(noted).open("a") as file:
            file.writelines(f"{number} {reason}\n" for reason, number in sorted(reasons.items()))
