"""kubectl demo-mode restore: gives targets their replicas and Services back without Kotatsu."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from kotatsu_operator.core.protocol import ACTIVATOR_SELECTOR

from .api import Api
from .checks.names import path_of
from .errors import DemoModeError
from .operators import Standing, Watch, watch
from .owed import Everything, Owed, choose, read_all
from .restored import CHANGED, FAILED, Restorer, Step
from .shell import Shell


def run(options: Namespace, shell: Shell) -> int:
    """Restore the chosen targets; returns 1 if something could not be restored."""
    steps: list[Step] = []
    with shell.api(options) as api:
        options.namespace = "" if options.all_namespaces else shell.namespace(api, options)
        found = read_all(api, options.namespace, shell)
        chosen = choose(found.owed, api, options)
        is_all = chosen == list(found.owed)
        holders: dict[str, str | None] = {}
        restorer = Restorer(api, options.dry_run, options.replicas)
        places = {one.namespace for one in chosen} | (set(found.records) if is_all else set())
        for namespace in sorted(places):
            mine = [owed for owed in chosen if owed.namespace == namespace]
            try:
                one = watch(api, namespace, shell, holders)
                why = "" if options.force else why_not(api, namespace, one)
                if why:
                    raise DemoModeError(why)
                is_absent = one.standing is Standing.ABSENT
                steps += _restore(restorer, namespace, mine, found, is_all, is_absent)
            except DemoModeError as error:
                steps.append(Step(namespace, "", FAILED, str(error)))
    _show(steps, options, shell)
    return int(any(step.result == FAILED for step in steps))


def why_not(api: Api, namespace: str, found: Watch) -> str:
    """Why nothing is restored in a namespace: an operator would undo it. Empty if none would."""
    remedy = (
        "uninstall Kotatsu or delete the WarmPools, which restores too, or use --force; for pods, "
        "`kubectl demo-mode on` is enough"
    )
    match found.standing:
        case Standing.ABSENT | Standing.DOWN:
            return ""
        case Standing.UNKNOWN:
            pods = path_of("v1", "pods", namespace)
            if not api.get(pods, labelSelector=ACTIVATOR_SELECTOR).get("items"):
                return ""  # a namespace that is watched has activators
            return f"an operator may watch it ({found.message}): {remedy}"
    return f"{found.message}, and may undo it: {remedy}"


def _restore(
    restorer: Restorer,
    namespace: str,
    chosen: Sequence[Owed],
    found: Everything,
    is_all: bool,
    is_absent: bool,
) -> Iterator[Step]:
    failed, restored = False, set[str]()
    for owed in chosen:
        steps = list(restorer.target(owed))
        yield from steps
        if any(step.result == FAILED for step in steps):
            failed = True
        elif owed.uid:
            restored.add(owed.uid)
    yield from restorer.slices(namespace, None if is_all else {o.entry.pool for o in chosen})
    record = found.records.get(namespace)
    if record is not None:
        yield from restorer.record(record, restored, delete=is_all and is_absent and not failed)


def _show(steps: Sequence[Step], options: Namespace, shell: Shell) -> None:
    if options.output:
        shell.terminal.dump([asdict(step) for step in steps], options.output)
        return
    tried = f" ({options.dry_run} dry run)" if options.dry_run else ""
    for step in steps:
        of = "/".join(filter(None, (step.namespace, step.pool)))
        if step.result == FAILED:
            shell.terminal.complain(f"error: {of}: {step.message}")
        else:
            shell.terminal.say(f"{of}: {step.message}{tried if step.result == CHANGED else ''}")
    if not steps:
        shell.terminal.say("Nothing is left to restore.")
