"""The messages and reasons that the pages about trouble quote are those of the programs."""

import ast
import functools
import re

from docs.pages import ROOT, section
from docs.reasons import conditions, events
from rows import each

from kotatsu_operator.core.pool.memory import Phase, Reason

PAGE = "docs/how-to/troubleshooting.md"
ASLEEP = {Reason.BUDGET.value}
"""Reasons that no awake pool has."""
OF_KUBERNETES = {"ErrImagePull", "Local", "WarmPool"}


@functools.cache
def _texts(folder: str) -> str:
    """All that the programs, or the templates, of a folder can say, without what is filled in."""
    sources = sorted((ROOT / folder).rglob("*.py"))
    return "\n".join(
        [path.read_text() for form in ("*.tpl", "*.yaml") for path in (ROOT / folder).rglob(form)]
        + [
            node.value
            for path in sources
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    )


@each(
    "page, heading, folder",
    [
        (PAGE, "Why does it not wake?", "operator/src/kotatsu_operator/activator"),
        (PAGE, "kubectl demo-mode fails", "operator/plugin/src/kotatsu_demo_mode"),
        (PAGE, "helm fails", "charts/kotatsu/templates"),
        ("docs/how-to/uninstall.md", "If it waits", "operator/src/kotatsu_operator/jobs"),
    ],
)
def test_a_message_that_the_page_quotes_is_one_of_the_program(
    page: str, heading: str, folder: str
) -> None:
    text = section(page, heading).split("| message of Kubernetes |")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)

    assert quoted
    for message in quoted:
        for part in message.split("…"):
            assert part.strip() in _texts(folder), message


def test_the_page_answers_why_for_each_reason_of_an_awake_pool() -> None:
    table = section(PAGE, "Why is my pool awake?").split("| condition |")[0]
    first_cells = " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))
    told = re.findall(r"`(\w+)`", first_cells)
    assert sorted(told) == sorted({reason.value for reason in Reason} - ASLEEP)


def test_each_reason_that_the_page_names_is_known() -> None:
    known = {name for pair in conditions() for name in pair} | set(events())
    known |= {phase.value for phase in Phase} | {reason.value for reason in Reason}
    refusals = (ROOT / "docs/reference/workloads.md").read_text()
    for name in re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", (ROOT / PAGE).read_text()):
        assert name in known | OF_KUBERNETES or f"`{name}`" in refusals, name
