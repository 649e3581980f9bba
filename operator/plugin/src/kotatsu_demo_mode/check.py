"""kubectl demo-mode check: will a WarmPool work for a workload? Reads, and changes nothing."""

import textwrap
from argparse import Namespace
from typing import Any

from .api import Api
from .checks.finding import Finding, Level, counted, verdict
from .checks.judge import Examined, examine
from .errors import DemoModeError
from .pools import items_of
from .shell import Shell
from .terminal import Terminal, plain


def run(options: Namespace, shell: Shell) -> int:
    """Print what was found; returns 1 if something is refused, or with --strict a warning."""
    terminal = shell.terminal
    many = bool(options.selector or options.everything or options.all_namespaces)
    if many == bool(options.workload):
        raise DemoModeError(
            "name one workload, as in `kubectl demo-mode check deployment/web`, or choose pools "
            "with -l, --all or -A"
        )
    seen = []
    with shell.api(options) as api:
        namespace = "" if options.all_namespaces else shell.namespace(api, options)
        for place, workload in _chosen(api, namespace, options):
            terminal.progress(f"reading {workload} in {place}")
            seen.append(examine(api, place, workload, options.service, options.replicas))
    terminal.clear()
    if options.output:
        records = [record(one) for one in seen]
        terminal.dump(records if many else records[0], options.output)
    else:
        for one in seen:
            if one is not seen[0]:
                terminal.say("")
            if many:
                terminal.say(f"{one.found.label} in {one.found.namespace}")
            for finding in one.findings:
                for line in lines(finding, terminal):
                    terminal.say(line)
            terminal.say("")
            terminal.say(conclusion(one))
    bad = (Level.REFUSED, Level.WARNING) if options.strict else (Level.REFUSED,)
    return int(any(verdict(one.findings) in bad for one in seen))


def _chosen(api: Api, namespace: str, options: Namespace) -> list[tuple[str, str]]:
    """The namespaces and names of what is checked."""
    if options.workload:
        return [(namespace, options.workload)]
    options.pools, options.everything = [], True
    found = items_of(api, namespace, options)
    return [(raw["metadata"]["namespace"], f"warmpool/{raw['metadata']['name']}") for raw in found]


def record(seen: Examined) -> dict[str, Any]:
    target = seen.found.target
    return {
        "workload": {
            "apiVersion": target.api_version,
            "kind": target.kind,
            "namespace": seen.found.namespace,
            "name": target.name,
        },
        "warmPool": None if seen.case is None or seen.case.is_new else seen.case.pool.name,
        "service": None if seen.case is None else seen.case.pool.spec.service,
        "verdict": verdict(seen.findings).value,
        "findings": [
            {
                "check": finding.check,
                "level": finding.level.value,
                "reason": finding.reason,
                "message": finding.message,
            }
            for finding in seen.findings
        ],
    }


_WIDTHS = len("refused"), len("autoscaler")


def lines(finding: Finding, terminal: Terminal) -> list[str]:
    """A finding as a line; on a terminal, its message is wrapped."""
    head = f"{finding.level.value:<{_WIDTHS[0]}}  {finding.check:<{_WIDTHS[1]}}  "
    reason = "" if finding.level in (Level.OK, Level.UNKNOWN) else f"{finding.reason}: "
    said = plain(f"{reason}{finding.message}")
    if not terminal.is_live:
        return [head + said]
    width = max(40, terminal.width - len(head))
    first, *rest = textwrap.wrap(said, width, break_on_hyphens=False) or [""]
    return [head + first, *(" " * len(head) + line for line in rest)]


def conclusion(seen: Examined) -> str:
    """The verdict in a sentence, with what to do next."""
    worst, numbers = verdict(seen.findings), counted(seen.findings)
    of = f"{seen.found.label}: {numbers}" if numbers else f"{seen.found.label}: nothing to mend"
    if worst is Level.REFUSED:
        return f"{of}; a WarmPool does not work until what is refused is corrected"
    if seen.case is None or not seen.case.is_new:
        return of
    more = (
        "a WarmPool works" if worst is Level.OK else "a WarmPool works; correct the warnings first"
    )
    return (
        f"{of}; {more}: `kubectl demo-mode create {seen.found.target.kind.lower()}/"
        f"{seen.found.target.name} -n {seen.found.namespace}` writes it"
    )
