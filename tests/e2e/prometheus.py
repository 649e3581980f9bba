"""A real Prometheus beside the tests, and what they ask it."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
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
def running(folder: Path, config: Object) -> Iterator[Prometheus]:
    """Run Prometheus over a configuration, on a port of its own."""
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    arguments = (
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    )
    program = peer.built("prometheus", folder)
    with peer.running(program, *arguments, folder=folder, ready=f"http://{address}/-/ready"):
        yield Prometheus(f"http://{address}")


def at(moment: float) -> str:
    """A Unix time, readable."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")
