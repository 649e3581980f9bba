"""A real Prometheus beside the tests, and what they ask it.

tests/e2e/panels.sh makes data for every panel. Then this asks for each line of each panel over the
last hour, and fails with those that have no data:

    cd tests && ../.venv/bin/python -m e2e.prometheus http://127.0.0.1:9090 kotatsu-demo
"""

import json
import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from chart.kit import ROOT, load_yaml
from e2e import peer
from e2e.kit import Kubectl, Object

from kotatsu_node.cluster.control_plane import free_ports

Sample = tuple[dict[str, str], list[float]]
"""The labels of a series, and its finite values, oldest first."""


class Prometheus:
    """Questions to a running Prometheus."""

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=f"{address}/api/v1", timeout=30, trust_env=False)

    def ask(self, path: str, **query: Any) -> Any:
        answer = self._http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def now(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Each series of an expression with its value at this moment."""
        found = self.ask("/query", query=expr)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def since(self, begin: float, expr: str, step: float = 2.0) -> list[Sample]:
        """Each series of an expression with finite values since a moment, as a panel draws it."""
        end = time.time()
        found = self.ask("/query_range", query=expr, start=begin, end=end, step=step)["result"]
        made = [
            (one["metric"], [float(v) for _, v in one["values"] if math.isfinite(float(v))])
            for one in found
        ]
        return [(labels, values) for labels, values in made if values]

    def alerts(self) -> set[tuple[str, str, str]]:
        """Alerts that fire or are about to: name, pool, state."""
        found = self.ask("/alerts")["alerts"]
        return {(a["labels"]["alertname"], a["labels"].get("name", ""), a["state"]) for a in found}

    def targets(self, job: str) -> list[Object]:
        """The targets of a job that are scraped."""
        active = self.ask("/targets", state="active")["activeTargets"]
        return [target for target in active if target["scrapePool"] == job]


EXAMPLE = ROOT / "examples/monitoring/prometheus.yaml"
HOUR = 3600.0
RATE = "1m"
"""What Grafana puts in for $__rate_interval, unless its data source has another interval."""


RIGHTS = ("ServiceAccount", "Role", "RoleBinding")
"""Kinds of the example that let Prometheus find pods."""


def of_the_example(*kinds: str) -> list[Object]:
    """The objects of these kinds that docs/how-to/monitoring.md applies."""
    return [obj for obj in load_yaml(EXAMPLE.read_text()) if obj["kind"] in kinds]


def scrape_configuration() -> Object:
    """The prometheus.yml of the example."""
    (config,) = of_the_example("ConfigMap")
    loaded: Object = yaml.safe_load(config["data"]["prometheus.yml"])
    return loaded


@dataclass(frozen=True)
class Line:
    """A line of a panel, as Grafana asks for it."""

    board: str
    panel: str
    expr: str
    legend: str
    unit: str


def filled(expr: str, namespace: str, rate: str = RATE) -> str:
    """A panel's query about all pools of a namespace, without Grafana's variables."""
    known = expr.replace("$namespace", namespace).replace("$pool", ".*")
    return known.replace("$__rate_interval", rate)


def legend(pattern: str, labels: dict[str, str]) -> str:
    """The name of a line, as Grafana writes it."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), pattern)


def lines(namespace: str, rate: str = RATE) -> Iterator[Line]:
    """Every line of every panel of every dashboard, about all pools of a namespace."""
    for path in sorted((ROOT / "charts/kotatsu/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield Line(
                    path.stem,
                    panel["title"],
                    filled(target["expr"], namespace, rate),
                    target["legendFormat"],
                    panel["fieldConfig"]["defaults"]["unit"],
                )


def without_data(prometheus: Prometheus, begin: float, namespace: str) -> list[str]:
    """The lines of panels that show nothing since a moment."""
    return [
        f"{line.board}: {line.panel}: {line.expr}"
        for line in lines(namespace)
        if not prometheus.since(begin, line.expr, step=5.0)
    ]


def from_docs(page: Path, mark: str) -> str:
    """The text of the YAML block of a page in which `mark` stands."""
    blocks = page.read_text().split("```yaml\n")[1:]
    (found,) = [text for block in blocks if mark in (text := block.split("```")[0])]
    return found


def kubeconfig_for(kubectl: Kubectl, account: str) -> str:
    """A kubeconfig with a token of a ServiceAccount and nothing else."""
    admin = json.loads(kubectl("config", "view", "--minify", "--raw", "--flatten", "-o", "json"))
    token = kubectl("create", "token", account, "--duration=2h").strip()
    (context,) = admin["contexts"]
    user = {"name": account, "user": {"token": token}}
    context["context"] |= {"user": account, "namespace": kubectl.namespace}
    return json.dumps(admin | {"users": [user], "contexts": [context]})


@contextmanager
def running(folder: Path, config: Object, program: Path | None = None) -> Iterator[Prometheus]:
    """Run Prometheus over a configuration, on a port of its own.

    `program` is one that finds nothing in Kubernetes, for a configuration that names its targets.
    """
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    arguments = (
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    )
    program = program or peer.built("prometheus", folder)
    with peer.running(program, *arguments, folder=folder, ready=f"http://{address}/-/ready"):
        yield Prometheus(f"http://{address}")


def at(moment: float) -> str:
    """A Unix time, readable."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def main() -> None:
    """Ask the Prometheus of the first argument about the namespace of the second."""
    address, namespace = sys.argv[1:]
    if empty := without_data(Prometheus(address), time.time() - HOUR, namespace):
        sys.exit("\n".join(["no data:", *empty]))
    print(f"all {len(list(lines(namespace)))} lines of all panels have data")  # noqa: T201


if __name__ == "__main__":
    main()
