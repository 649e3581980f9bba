"""An operator as a process that a test kills. It has its settings from the environment.

KOTATSU_E2E_CLOCK is a file that says by how many seconds its clock is wrong.
"""

import asyncio
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from kotatsu_common.settings import load
from kotatsu_operator.__main__ import options_of, scope_of
from kotatsu_operator.controller.app import Operator
from kotatsu_operator.controller.feature import Setup, features_of
from kotatsu_operator.core.protocol import OPERATOR
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.runtime.settings import OperatorSettings


def clock() -> datetime:
    """The time, or what the file says is the time."""
    file = os.environ.get("KOTATSU_E2E_CLOCK")
    return datetime.now(UTC) + timedelta(seconds=float(Path(file).read_text()) if file else 0)


async def main() -> None:
    """Run until killed."""
    settings = load(OperatorSettings)
    kube = Kube.connect(OPERATOR, scaled=settings.targets)
    registry = CollectorRegistry()
    options = options_of(settings, features_of(Setup(settings, registry, clock)))
    operator = Operator(kube, scope_of(settings), registry, options, clock=clock)
    await operator.run()


logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
for chatty in ("httpx", "httpx2", "httpcore", "kopf"):
    logging.getLogger(chatty).setLevel(logging.WARNING)
asyncio.run(main())
