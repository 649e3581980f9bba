"""What is said at the end: the figures in one place, and what to try next."""

from __future__ import annotations

from collections.abc import Sequence

from kotatsu_demo.story import Event
from kotatsu_demo.windows import REPLICAS


def figures(events: Sequence[Event]) -> list[str]:
    """One line for each figure of the show."""
    told = {event.name: event for event in events}
    lines: list[tuple[str, str]] = []
    if ready := told.get("ready"):
        early = ready.facts["early_seconds"]
        when = "before the window opened" if early >= 0 else "after the window opened: LATE"
        lines.append(("punctual", f"{REPLICAS} pods Ready {abs(early):.1f} s {when}"))
    if speech := told.get("speech"):
        lines.append(("speech", f"{speech.text}, from a warm pod"))
    if asleep := told.get("asleep_again"):
        after = asleep.facts["after_seconds"]
        lines.append(("sleep", f"0 pods {after:.0f} s after the window closed"))
    if woken := told.get("woken"):
        took = woken.facts["answer_seconds"]
        lines.append(("wake", f"{took:.2f} s from a request at 0 pods to the end of its answer"))
    if cost := told.get("cost"):
        lines.append(("cost", cost.text))
    return [f"  {title:<10}{text}" for title, text in lines]


def next_commands(
    shell_line: str, namespace: str, *, has_gateway: bool, is_node: bool
) -> list[str]:
    """The commands to try now, each below what it shows."""
    kubectl = f"kubectl -n {namespace}"
    ask = "--data-urlencode text=こんにちは | base64 -d > build/demo/hello.mp3"
    pairs = [
        ("so that kubectl finds the cluster", shell_line),
        ("watch it fall asleep, and wake", f"{kubectl} get wp -w"),
    ]
    if has_gateway:
        forward = f"{kubectl} port-forward svc/gateway 8080:80 &"
        pairs.append(("the app's one address", forward))
        pairs.append(("wake it yourself", f"curl -s http://127.0.0.1:8080/voice {ask}"))
    elif is_node:
        address = f"$({kubectl} get svc voice -o jsonpath='{{.spec.clusterIP}}')"
        pairs.append(("wake it yourself", f'curl -s "http://{address}/voice" {ask}'))
    pairs += [
        ("what happened, and why", f"{kubectl} describe wp voice"),
        ("give it a window of yours", f"{kubectl} edit wp voice"),
        ("remove everything", "make down"),
    ]
    return [f"  # {why}\n  {command}" for why, command in pairs]
