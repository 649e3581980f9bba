"""Running the plugin inside the tests: a pool out of a manifest, a terminal made of paper."""

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kotatsu_demo_mode.cli import run
from kotatsu_demo_mode.pools import Pool, read_pool, requests_of
from kotatsu_demo_mode.shell import Shell
from kotatsu_demo_mode.terminal import Terminal

PRICES = {"currency": "JPY", "prices": {"cpuHour": "6.5", "memoryGiBHour": "0.7"}}
NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)  # 06:00 on a Wednesday in Tokyo


def deployment(name: str = "voice", cpu: str = "250m", memory: str = "320Mi") -> dict[str, Any]:
    """A Deployment whose pods request what the pet's voice does."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": "localhost/x",
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def manifest(name: str = "voice", **spec: Any) -> dict[str, Any]:
    """A WarmPool in Tokyo with prices; fields of its spec as keywords."""
    return {
        "apiVersion": "kotatsu.dev/v1alpha1",
        "kind": "WarmPool",
        "metadata": {"name": name, "labels": {"team": "pet"}},
        "spec": {
            "targetRef": {"name": name},
            "timeZone": "Asia/Tokyo",
            "budget": PRICES,
            **spec,
        },
    }


def once(name: str, start: str, end: str, replicas: int = 5) -> dict[str, Any]:
    """A window with a start and an end."""
    return {"name": name, "start": start, "end": end, "replicas": replicas}


def cron(name: str, schedule: str, duration: str, replicas: int = 2) -> dict[str, Any]:
    """A repeating window."""
    return {"name": name, "schedule": schedule, "duration": duration, "replicas": replicas}


PITCH = once("final-pitch", "2026-11-25T10:00", "2026-11-25T12:00", 5)
EVENINGS = cron("rehearsal", "0 18 * * 1-5", "90m", 2)


def pool(name: str = "voice", status: dict[str, Any] | None = None, **spec: Any) -> Pool:
    """A pool as the commands see it, with a Deployment that can be read."""
    raw = manifest(name, **spec) | {"status": status or {}}
    return read_pool(raw, requests_of(deployment(name)))


@dataclass
class Ran:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its answer as a value."""
        return json.loads(self.out)


def demo_mode(
    *words: str,
    now: datetime = NOW,
    stdin: str = "",
    width: int = 100,
    kubectl: str = "kubectl",
) -> Ran:
    """Run a command in this process at a given time."""
    out, err = io.StringIO(), io.StringIO()
    shell = Shell(
        Terminal(out, err, width=width),
        io.StringIO(stdin),
        user="ann",
        kubectl=kubectl,
        clock=lambda: now,
        sleep=lambda _: None,
    )
    code = run(words, shell)
    return Ran(code, out.getvalue(), err.getvalue())


def write_manifest(path: Path, *objects: dict[str, Any]) -> str:
    """Write manifests as JSON, which is YAML too; the file's name."""
    path.write_text("\n---\n".join(json.dumps(o) for o in objects))
    return str(path)
