"""kubectl demo-mode create: writes the WarmPool of a workload, filled in with what `check` finds.

It prints the manifest, with a comment for each field that it has filled in. With --apply it creates
the pool.
"""

import json
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import wrap
from typing import Any

from kotatsu_operator.core.formats import count, format_duration, is_name
from kotatsu_operator.core.plan.lead import enough_hold
from kotatsu_operator.core.pool.proposal import metric_field
from kotatsu_operator.core.pool.spec import Parked, PoolSpec, RouteMode
from kotatsu_operator.core.suggest import PARKED_SHARE, RelativePrices, Settings, by_rule

from .api import MANAGER, dry_run_query
from .check import Examined, examine
from .checks.capacity import pods_with_disk, scales, why_unparked
from .checks.found import Case, Finding, Found, Level, ending_of, start_of
from .checks.gauges import gauge_in, pod_of
from .entries import Request, adding
from .errors import DemoModeError
from .objects import Object, spec_of
from .pools import Pool, pool_path, read_pool
from .shell import Shell
from .terminal import plain


@dataclass(frozen=True)
class Filled:
    """A field of the spec, its value, and a sentence about it."""

    field: str
    value: Any
    why: str


@dataclass(frozen=True)
class Made:
    """The WarmPool to write, and what to know of it."""

    pool: Pool
    manifest: Object
    comments: Mapping[str, str]
    """What is said above a field of the spec."""
    notes: Sequence[str]

    @property
    def text(self) -> str:
        """The manifest as YAML, with the notes above it and a comment for each filled field."""
        notes = [f"# {line}" for note in self.notes for line in wrap(plain(note), _WIDTH - 2)]
        return "\n".join([*notes, manifest_text(self.manifest, self.comments)])


def run(options: Namespace, shell: Shell) -> int:
    """Print the manifest, or create the pool."""
    terminal, now = shell.terminal, shell.clock()
    windows = [Request(**given) for given in options.windows or ()]
    most = max((w.replicas or 1 for w in windows), default=None)
    with shell.api(options) as api:
        namespace = shell.namespace(api, options)
        terminal.progress(f"reading {options.workload} in {namespace}")
        seen = examine(api, namespace, options.workload, options.service, most)
        terminal.clear()
        made = make(seen, options.name, options.time_zone, windows, now)
        if options.apply and not windows:
            _refuse_silence(seen.findings)
        if not options.apply and options.output != "json":
            terminal.say_as_is(made.text.rstrip())
            return 0
        for note in made.notes:
            (terminal.complain if options.output else terminal.say)(f"{made.pool.name}: {note}")
        written = made.manifest
        if options.apply:
            if not options.dry_run:
                shell.confirm(yes=options.yes)
            query = {"fieldManager": MANAGER, **dry_run_query(options.dry_run == "server")}
            written = api.create(pool_path(made.pool.namespace), made.manifest, **query)
    if options.output:
        terminal.dump(written, options.output)
    else:
        tried = " (server dry run)" if options.dry_run == "server" else ""
        terminal.say(f"warmpool.kotatsu.dev/{made.pool.name} created{tried}")
    return 0


def _refuse_silence(findings: Iterable[Finding]) -> None:
    """Raise DemoModeError for a pool that would sleep and that none of its clients could wake."""
    for finding in findings:
        is_silent = finding.reason in ("ServerSpeaksFirst", "Worker")
        if is_silent and finding.level is Level.WARNING:
            raise DemoModeError(
                f"{finding.reason}: {finding.message}; give the pool a --window, or apply what "
                "`create` prints without --apply"
            )


def make(
    seen: Examined,
    name: str,
    zone: str,
    windows: Sequence[Request],
    now: datetime,
) -> Made:
    """The WarmPool for a workload. Raises DemoModeError if it would not work."""
    for finding in seen.findings:
        if finding.level is Level.REFUSED:
            raise DemoModeError(f"{finding.reason}: {finding.message}")
    case = seen.case
    if name and not is_name(name):
        raise DemoModeError(
            f"--name: {name!r} is not a name; write it in lower case, like web or web-2"
        )
    if case is None or seen.found.workload is None:
        why = seen.found.unread or "it could not be read"
        raise DemoModeError(f"{seen.found.label}: {why}")
    if not case.is_new:
        raise DemoModeError(
            f"{seen.found.label} has the WarmPool {case.pool.name}; add windows to it with "
            f"`kubectl demo-mode window add NAME {case.pool.name} -n {seen.found.namespace} "
            "--at TIME`"
        )
    most = max((w.replicas or 1 for w in windows), default=1)
    parts = filled(case, zone, most)
    raw, comments = case.pool.raw, {part.field: part.why for part in parts}
    manifest = raw | {
        "metadata": raw["metadata"] | ({"name": name} if name else {}),
        "spec": raw["spec"] | {part.field: part.value for part in parts},
    }
    pool = read_pool(manifest, case.pool.spec.platform)
    notes = [f"{f.reason}: {f.message}" for f in seen.findings if f.level in _NOTED]
    for window in windows:
        if (window.at is None) == (window.schedule is None):
            raise DemoModeError(
                f"--window {window.name}: give its start by either --at or --schedule, after it"
            )
        edit = adding(pool, window, now)
        notes += edit.notes
        pool = edit.after
    # The status has the prices that the operator will write; it is not part of a manifest.
    kept = {name: value for name, value in manifest.items() if name != "status"}
    return Made(pool, kept | {"spec": pool.raw["spec"]}, comments, notes)


def filled(case: Case, zone: str, most: int) -> list[Filled]:
    """The fields, for windows with `most` pods at most."""
    least = list(_least(case))
    return [
        *_route(case),
        _zone(case.found, zone),
        *least,
        *_most(case, max([most, *(part.value for part in least)])),
        *_wake(case.found),
        *(list(_parking(case)) or _staying(case.found)),
    ]


def _least(case: Case) -> Iterator[Filled]:
    """MinReplicas of a workload that runs more than one pod, unless an HPA says it."""
    running = count(spec_of(case.found.workload or {}).get("replicas"), 1)
    has_hpa = any(scales(case, a) for a in case.found.autoscalers.items)
    if running > 1 and not has_hpa and not case.pool.spec.target.scales_itself:
        yield Filled("minReplicas", running, f"{case.found.label} runs {running} pods.")


def _most(case: Case, windows: int) -> Iterator[Filled]:
    """maxReplicas, where windows ask for more than the default, or pods have a disk."""
    disk, running = case.found.disk, pods_with_disk(case)
    most, why = (
        max(windows, PoolSpec.max_replicas),
        "The pods that run, or those of the largest window.",
    )
    if disk is None or any(scales(case, a) for a in case.found.autoscalers.items):
        if windows > PoolSpec.max_replicas:
            yield Filled("maxReplicas", most, why)
    elif disk.for_one is False:
        said = f"Its pods can share their disk ({', '.join(disk.claims)})."
        yield Filled("maxReplicas", most, why if windows > PoolSpec.max_replicas else said)
    else:
        said = f"{case.found.label} {disk.why}."
        yield Filled("maxReplicas", max(windows, running), said)


def _route(case: Case) -> Iterator[Filled]:
    """The Service, the route, and where the gauge of requests in flight is."""
    spec, raw, of = case.pool.spec, case.pool.raw["spec"], case.found.label
    if spec.target.scales_itself:
        return
    if "service" in raw:
        yield Filled("service", spec.service, f"Requests to this Service wake {of}.")
    if spec.route is RouteMode.ACTIVATOR:
        why = "All connections pass the activator, which counts them."
        yield Filled("route", RouteMode.ACTIVATOR.value, why)
        return
    gauge = None if case.found.pages_unread else gauge_in(case)
    if gauge is None or gauge.value > 0:
        unread = case.found.pages_unread
        why = (
            f"Whether its pods report requests in flight is not known ({unread}): if they do, "
            "`route: Auto` takes the activator out of the way while pods are warm."
            if unread
            else "Its pods report no usable gauge of requests in flight."
        )
        why += (
            " All connections pass the activator, which counts them: the pool adds a term to the "
            f"selector of Service {spec.service}, and removes it when it is deleted."
        )
        yield Filled("route", RouteMode.ACTIVATOR.value, why)
        return
    where = pod_of(case.found)
    why = f"{where[0].upper()}{where[1:]} reports its requests in flight ({gauge.name})."
    yield Filled("route", RouteMode.AUTO.value, why)
    if there := metric_field(gauge.port, gauge.path):
        yield Filled("inFlightMetric", there, "The container port and the page of that gauge.")


def _zone(found: Found, zone: str) -> Filled:
    used = {str(pool["spec"].get("timeZone", "UTC")) for pool in found.pools.items}
    if not zone and len(used) == 1:
        why = "The time zone of the other WarmPools of this namespace."
        return Filled("timeZone", used.pop(), why)
    another = "" if zone else "; --time-zone sets another one"
    return Filled("timeZone", zone or "UTC", f"The time zone of the windows{another}.")


def _parking(case: Case) -> Iterator[Filled]:
    """The rule, where pods can be parked: a short idleAfter, and a parked pod for a while."""
    rule = by_rule(Settings(PoolSpec.idle_after), RelativePrices(PARKED_SHARE))
    if why_unparked(case, Parked(rule.kept), is_asked=True) is not None:
        return
    yield Filled(
        "idleAfter", format_duration(rule.idle_after), "An idle pod is parked after this time."
    )
    why = (
        "A parked pod keeps its memory and answers at once. For this time it costs less than the "
        "cold start that it may save. After three weeks, `kubectl demo-mode suggest` computes it."
    )
    yield Filled("parkedFor", format_duration(rule.kept), why)


_NOTED = (Level.WARNING, Level.UNKNOWN)
"""What the pool's author should know: also what was not checked."""

_LONGEST_HOLD = timedelta(minutes=10)


def _wake(found: Found) -> Iterator[Filled]:
    took, ending = start_of(found), ending_of(found)
    if took is None or 2 * took + ending <= PoolSpec.hold_timeout:
        return
    first = f", and the {format_duration(ending)} in which the pod before it may end"
    yield Filled(
        "holdTimeout",
        format_duration(min(enough_hold(took) + ending, _LONGEST_HOLD)),
        f"Twice the {format_duration(took)} that a pod took from its node to Ready"
        f"{first if ending else ''}; where a new node must come first, add twice its time. Proxies "
        "in front must wait longer.",
    )


def _staying(found: Found) -> Iterator[Filled]:
    took = start_of(found)
    if took is None or took <= PoolSpec.idle_after:
        return
    why = f"Twice the {format_duration(took)} of a start, so that clients that gave up find a pod."
    yield Filled("idleAfter", format_duration(enough_hold(took)), why)


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Words that YAML 1.1 reads as something else than text."""
_WIDTH = 100


def manifest_text(value: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """The YAML of a WarmPool, with comments above fields of its spec."""
    lines = [f"{key}: {_flow(inner)}" for key, inner in value.items() if key != "spec"]
    lines.append("spec:")
    for field, inner in value["spec"].items():
        said = wrap(plain(comments.get(field, "")), _WIDTH - 4, break_on_hyphens=False)
        lines += [f"  # {line}" for line in said]
        if isinstance(inner, list) and inner:
            lines += [f"  {field}:", *(f"    - {_flow(item)}" for item in inner)]
        else:
            lines.append(f"  {field}: {_flow(inner)}")
    return "\n".join([*lines, ""])


def _flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
