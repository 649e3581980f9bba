"""Commands in the pages: the plugin understands them, and what they name is in the charts."""

import re
import shlex
from pathlib import Path

import pytest
from chart.kit import CHARTS, Rendered, render, require_helm
from docs.pages import code, files, name
from rows import each

from kotatsu_demo_mode.cli import parser
from kotatsu_operator.core.protocol import OPERATOR

PAST = ("docs/benchmarks/", "docs/decisions/")
PAGES = [
    path
    for path in files()
    if path.suffix == ".md" and name(path).startswith("docs/") and not name(path).startswith(PAST)
]
OURS = re.compile(
    r"\b(deployment|service|job|configmap|lease|podmonitor)s?[/ ]((?:kotatsu|pet)[a-z0-9-]*)\b"
)
LABEL = re.compile(r"-l (app\.kubernetes\.io/[a-z]+)=([a-z-]+)")
MADE = {("lease", OPERATOR)}
"""What a program creates and no chart renders."""


def _lines(page: Path) -> list[str]:
    return [line.strip() for part in code(page.read_text()) for line in part.splitlines()]


def _plugin_commands(page: Path) -> list[str]:
    # What the shell fills in is one word, and where it leads the output to is none.
    lines = [re.sub(r" \d?>\S+", "", re.sub(r"\$\([^)]*\)", "TIME", line)) for line in _lines(page)]
    found = [re.findall(r"kubectl demo-mode ([^|()<>]+)", line) for line in lines]
    return [command for commands in found for command in commands]


@each("page", [p for p in PAGES if _plugin_commands(p)], name=name)
def test_the_plugin_has_each_verb_and_option_that_a_page_shows(page: Path) -> None:
    for command in _plugin_commands(page):
        try:
            parser().parse_args(shlex.split(command, comments=True))
        except SystemExit:
            pytest.fail(f"the plugin does not understand: kubectl demo-mode {command}")


@pytest.fixture(scope="session")
def charts() -> Rendered:
    """All objects of all charts, as where there is a Prometheus Operator."""
    require_helm()
    monitored = ("--set", "podMonitor.enabled=true")
    found = [render(chart.name, None, *monitored).objects for chart in sorted(CHARTS.iterdir())]
    return Rendered([obj for objects in found for obj in objects])


@each("page", [p for p in PAGES if OURS.search(str(_lines(p)))], name=name)
def test_each_object_of_ours_that_a_command_names_is_in_a_chart(
    page: Path, charts: Rendered
) -> None:
    known = {(obj["kind"].lower(), obj["metadata"]["name"]) for obj in charts.objects} | MADE
    for line in _lines(page):
        for named in OURS.findall(line):
            assert named in known, line


@each("page", [p for p in PAGES if LABEL.search(str(_lines(p)))], name=name)
def test_each_label_of_ours_that_a_command_selects_by_is_on_a_pod(
    page: Path, charts: Rendered
) -> None:
    pods = [template["metadata"]["labels"] for _, template in charts.pods()]
    labels = {label for pod in pods for label in pod.items()}
    for line in _lines(page):
        for label in LABEL.findall(line):
            assert label in labels, line
