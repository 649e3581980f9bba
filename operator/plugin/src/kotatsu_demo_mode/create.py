"""kubectl demo-mode create: writes the WarmPool of a workload, filled in with what `check` finds.

It prints the manifest, with a comment for each field that it has filled in. With --apply it creates
the pool.
"""

import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .api import MANAGER, Api
from .checks.examine import Examined, Wish, examine
from .checks.filled import Filled, filled
from .checks.finding import Finding, Level
from .errors import DemoModeError
from .managers import dry_run_query
from .manifest_text import commented, manifest_text
from .pools import Object, Pool, pool_path, read_pool
from .shell import Shell
from .windows import Request, adding


@dataclass(frozen=True)
class Made:
    """The WarmPool to write, and what to know of it."""

    pool: Pool
    manifest: Object
    comments: Mapping[tuple[str, ...], str]
    notes: Sequence[str]

    @property
    def text(self) -> str:
        """The manifest as YAML, with the notes above it and a comment for each filled field."""
        return commented(self.notes) + manifest_text(self.manifest, self.comments)


def run(options: Namespace, shell: Shell) -> int:
    """Print the manifest, or create the pool."""
    terminal, now = shell.terminal, shell.clock()
    windows = [Request(**given) for given in options.windows or ()]
    most = max((w.replicas or 1 for w in windows), default=None)
    with shell.api(options) as api:
        namespace = shell.namespace(api, options)
        terminal.progress(f"reading {options.workload} in {namespace}")
        seen = examine(api, namespace, options.workload, Wish(options.service, most))
        terminal.clear()
        made = make(seen, options.name, options.time_zone, windows, now, parked=options.parked)
        if not options.apply and options.output != "json":
            terminal.say_as_is(made.text.rstrip())
            return 0
        for note in made.notes:
            (terminal.complain if options.output else terminal.say)(f"{made.pool.name}: {note}")
        written = made.manifest
        if options.apply:
            if not options.dry_run:
                shell.confirm(yes=options.yes)
            written = _create(api, made, dry_run=options.dry_run == "server")
    if options.output:
        terminal.dump(written, options.output)
    else:
        tried = " (server dry run)" if options.dry_run == "server" else ""
        terminal.say(f"warmpool.kotatsu.dev/{made.pool.name} created{tried}")
    return 0


_PARKED = (
    Filled(("parked",), {}, "An idle pool keeps one pod for an hour, with smaller requests."),
)
"""The part of --parked."""

_LONGEST, _NAME = (
    253,
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"),
)
"""Names that the API server accepts."""


def make(
    seen: Examined,
    name: str,
    zone: str,
    windows: Sequence[Request],
    now: datetime,
    *,
    parked: bool = False,
) -> Made:
    """The WarmPool for a workload. Raises DemoModeError if it would not work."""
    for finding in seen.findings:
        if finding.level is Level.REFUSED:
            raise DemoModeError(f"{finding.reason}: {finding.message}")
    case = seen.case
    if name and not (len(name) <= _LONGEST and _NAME.fullmatch(name)):
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
    parts = [*filled(case, zone, most), *(_PARKED if parked else ())]
    manifest = _manifest(case.pool.raw, name, parts)
    pool = read_pool(manifest, case.pool.template)
    notes = [*_warnings(seen.findings)]
    for window in windows:
        if (window.at is None) == (window.schedule is None):
            raise DemoModeError(
                f"--window {window.name}: give its start by either --at or --schedule, after it"
            )
        edit = adding(pool, window, now)
        notes += edit.notes
        pool = edit.after
    manifest = manifest | {"spec": _ordered(pool.raw["spec"])}
    comments = {("spec", *part.path): part.why for part in parts}
    return Made(pool, manifest, comments, notes)


def _manifest(raw: Object, name: str, parts: Iterable[Filled]) -> Object:
    spec: dict[str, Any] = dict(raw["spec"])
    for part in parts:
        head, *rest = part.path
        spec[head] = {**spec.get(head, {}), rest[0]: part.value} if rest else part.value
    meta = raw["metadata"] | ({"name": name} if name else {})
    return raw | {"metadata": meta, "spec": spec}


_ORDER = ("targetRef", "service", "route", "metrics", "timeZone", "windows", "scaling", "wake")


def _ordered(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in the order of the documentation."""
    return {key: spec[key] for key in (*_ORDER, *spec) if key in spec}


def _warnings(findings: Iterable[Finding]) -> Iterator[str]:
    return (f"{f.reason}: {f.message}" for f in findings if f.level is Level.WARNING)


def _create(api: Api, made: Made, *, dry_run: bool) -> Object:
    place = pool_path(made.pool.namespace)
    return api.create(place, made.manifest, fieldManager=MANAGER, **dry_run_query(dry_run))
