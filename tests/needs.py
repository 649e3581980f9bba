"""What tests need of this machine beside Python.

A test that cannot have it is skipped, with a reason that begins with "needs": the summary of a run
has one line for each thing that is missing. Where KOTATSU_SKIP_NOTHING is set, such a test fails
instead: .ci/run sets it, and so does the workflow's `make e2e`.
"""

import os
import resource
import sys
from typing import NoReturn

import pytest

from kotatsu_node.build import prepare
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout

SKIP_NOTHING = "KOTATSU_SKIP_NOTHING"

A_NODE = [
    pytest.mark.node,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="a node needs root on Linux"
    ),
]
"""The marks of tests that start and end the throwaway node."""


def missing(what: str, why: str) -> NoReturn:
    """End a test that needs something which is not there."""
    reason = f"needs {what}: {why}"
    if os.environ.get(SKIP_NOTHING):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def open_files(number: int) -> None:
    """For tests with many connections: so many open files, here and in processes begun later."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if most != unlimited and most < number:
        missing(f"{number} open files", f"this machine allows {most} (ulimit -Hn)")
    if allowed != unlimited and allowed < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, most))


def kubernetes() -> None:
    """For tests with an API server of their own: the programs that tools/node gets ready."""
    try:
        unbuilt = prepare.locate(Layout.from_environment()).missing()
    except NodeError as error:
        missing("Kubernetes", error.what)
    if "kubernetes" in unbuilt:
        missing("Kubernetes", "`make programs` downloads or builds it")
