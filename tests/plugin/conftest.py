"""A real API server for the plugin, where tools/node has built one."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import needs
import pytest
from plugin.apiserver import Api, serve
from plugin.kit import cron, deployment, manifest, once, write_manifest

from tests.operator.core.calendar.icalendar_files import calendar, event


def far_windows() -> list[dict[str, Any]]:
    """Windows that don't open within the next hours, whenever the tests run: the clock is real."""
    far = datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(hours=12)
    day = far.date() + timedelta(days=2)
    return [
        once("keynote", f"{day}T10:00", f"{day}T12:00", 5),
        cron("rehearsal", f"0 {far.hour} * * *", "90m", 2),
    ]


@pytest.fixture(scope="session")
def server() -> Iterator[Api]:
    """The API server."""
    needs.kubernetes()
    with serve() as api:
        yield api


@pytest.fixture
def api(server: Api) -> Api:
    """The server with two pools and one Deployment in the namespace demo."""
    server.put(
        deployment(),
        manifest(windows=far_windows()),
        manifest("auth", windows=far_windows()[1:]),
    )
    return server


PROGRAMS = Path(sys.executable).parent
"""Where the programs of this environment are, the plugin among them."""
PLAIN = re.compile(r"kubectl demo-mode ([^#$`|&;<>(){}*?~\\\n]*)")
"""A command line of which bash and kubectl pass on the words, and nothing else."""


class Shell:
    """bash with kubectl and the plugin on its PATH, in a directory of its own.

    The plugin gets the words of a plain line at once: test_kubectl_finds_the_plugin… shows that it
    is found.
    """

    def __init__(self, api: Api, home: Path) -> None:
        self._api, self.home = api, home

    def __call__(
        self, line: str, user: str = "admin", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        inherited = self._api.environment(user)
        path = f"{PROGRAMS}:{inherited['PATH']}"
        plain = PLAIN.fullmatch(line)
        plugin = PROGRAMS / "kubectl-demo_mode"
        return subprocess.run(
            [plugin, *shlex.split(plain[1])] if plain else ["bash", "-c", line],
            env=inherited | {"PATH": path} | environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def ok(self, line: str, **environment: str) -> str:
        """What it prints; it must succeed and say nothing on stderr."""
        done = self(line, **environment)
        assert (done.returncode, done.stderr) == (0, ""), f"{line}: {done.stderr}{done.stdout}"
        return done.stdout

    def refused(self, line: str, user: str = "admin") -> str:
        """The one sentence on stderr; it must fail and print nothing else."""
        done = self(line, user)
        assert done.returncode != 0, line
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        return done.stderr.strip()


@pytest.fixture
def sh(api: Api, tmp_path: Path) -> Shell:
    """A shell that talks to the API server."""
    write_manifest(tmp_path / "pool.yaml", manifest(windows=far_windows()[:1]), deployment())
    day = datetime.now(ZoneInfo("Asia/Tokyo")).date() + timedelta(days=3)
    times = {
        "DTSTART__TZID=Asia/Tokyo": f"{day:%Y%m%d}T100000",
        "DURATION": "PT2H",
    }
    (tmp_path / "pitch.ics").write_bytes(calendar(event(**times)))
    return Shell(api, tmp_path)
