"""What an hour of the voice costs in each state, at the prices of docs/explanation/cost.md."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import yaml

from kotatsu_operator.core.budget.prices import hourly, parse_table, pod_requests
from kotatsu_operator.core.pool.spec import PLATFORM, Prices
from report import ROOT, Row
from topic import again, unmeasured

WHAT = "an hour of the voice, parked ÷ warm"
_TABLE = re.compile(r"^```yaml\n(prices:\n.*?)^```", re.MULTILINE | re.DOTALL)


def hourly_row() -> Row:
    """The price of one pod, warm and parked; a sleeping pool has none."""
    table = price_table()
    how = f"requests of the chart pet, prices of docs/explanation/cost.md in {table.currency}"
    if shutil.which("helm") is None:
        return unmeasured(WHAT, how, "there is no helm here", "", "parked")
    spec = _pod_spec()
    requests = pod_requests(spec)
    warm = hourly(requests, table)
    parked = hourly(reduced(requests), table)
    said = (
        f"warm {warm:.2f}, asleep 0; a month of 730 h: {_month(parked)} parked, {_month(warm)} warm"
    )
    ratio = float(parked / warm)
    return Row(WHAT, how, f"{parked:.2f}", said, 1, "", ratio, None, again("parked"))


def price_table() -> Prices:
    """The table that docs/explanation/cost.md shows."""
    found = _TABLE.search((ROOT / "docs" / "explanation/cost.md").read_text())
    if found is None:
        raise RuntimeError("docs/explanation/cost.md shows no prices")
    return parse_table(yaml.safe_load(found[1])["prices"])


def reduced(requests: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The requests of a pod with one container while it is parked."""
    return {**requests, "cpu": min(requests["cpu"], PLATFORM.parked_cpu)}


def _month(price: Decimal) -> str:
    return f"{price * 730:,.0f}"


def _pod_spec() -> Any:
    command = ["helm", "template", "bench", str(ROOT / "charts" / "pet")]
    command += ["--show-only", "templates/voice.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for found in yaml.safe_load_all(done.stdout):
        if found and found["kind"] == "Deployment":
            return found["spec"]["template"]["spec"]
    raise RuntimeError("the chart pet has no Deployment of the voice")
