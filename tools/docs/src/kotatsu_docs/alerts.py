"""docs/reference/alerts.md: the alerts of the chart's rules, in the words of their runbooks."""

import re
from collections.abc import Mapping
from typing import Any

from .markdown import line, row

_SEVERITY = {
    "critical": "a demo fails now",
    "warning": "look at it today",
    "info": "when you have time",
}


def body(rules: Mapping[str, Any], runbooks: Mapping[str, str]) -> str:
    """The page below its head; `runbooks` has the text of each alert's runbook by its name."""
    lines = [", ".join(f"*{name}*: {text}" for name, text in _SEVERITY.items()) + ".", ""]
    lines += ["| alert | severity | for | what it means |", "|---|---|---|---|"]
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    for alert in sorted(alerts, key=lambda a: list(_SEVERITY).index(a["labels"]["severity"])):
        name, severity = alert["alert"], alert["labels"]["severity"]
        link = f"[{name}](../runbooks/{name}.md)"
        lasts = alert.get("for", "at once")
        lines.append(row(link, severity, lasts, _meaning(runbooks[name])))
    return "\n".join(lines) + "\n"


def _meaning(runbook: str) -> str:
    """The section Meaning, on one line; its links lead from the folder of the page."""
    text = runbook.split("\n## Meaning\n")[1].split("\n## ")[0]
    return re.sub(r"\]\((?!\w+:|\.\./)", "](../runbooks/", line(text))
