"""A real Prometheus beside the tests, and what they ask it."""

import json
import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from e2e.kit import Kubectl, Object

from kotatsu_node.build import peers
from kotatsu_node.cluster.control_plane import free_ports
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout

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
    try:
        program = peers.build("prometheus", Layout.from_environment(), folder / "build.log")
    except NodeError as error:
        pytest.skip(f"no Prometheus: {error}")
    (port,) = free_ports(1)
    command = [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, f"{address}/-/ready", folder / "prometheus.log")
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not get ready: {log.read_text()}")


def at(moment: float) -> str:
    """A Unix time, readable."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")
