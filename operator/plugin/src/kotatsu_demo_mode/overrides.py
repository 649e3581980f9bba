"""Writes and removes spec.override, and no other field of a pool; what on and off share."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.protocol import BY_ANNOTATION, REASON_ANNOTATION

from .api import APPLY, MANAGER, MERGE, Api, dry_run_query
from .errors import ConflictError, DemoModeError, changed
from .operators import Watch, watches
from .pools import Object, Pool, chosen, managers_of
from .shell import Shell
from .words import stamp


def override(mode: str, until: datetime, *, by: str, reason: str, replicas: int | None) -> Object:
    """The parts of a pool that make an override: spec.override, and who set it and why."""
    fields = {"mode": mode, "replicas": replicas, "until": stamp(until)}
    said = {BY_ANNOTATION: by, REASON_ANNOTATION: reason}
    return {
        "metadata": {"annotations": {key: value for key, value in said.items() if value}},
        "spec": {"override": {key: value for key, value in fields.items() if value}},
    }


def override_of(raw: Object) -> Object | None:
    """The same of a pool that has one; None without."""
    value = raw["spec"].get("override")
    if value is None:
        return None
    there = table(raw["metadata"].get("annotations"))
    said = {key: there[key] for key in (BY_ANNOTATION, REASON_ANNOTATION) if key in there}
    return {"metadata": {"annotations": said}, "spec": {"override": value}}


def other_managers(raw: Object) -> list[str]:
    """The field managers, other than this plugin, that own a part of spec.override."""
    return [name for name, *_ in managers_of(raw, "override") if name != MANAGER]


def set_override(api: Api, pool: Pool, value: Object, *, force: bool, dry_run: bool) -> Object:
    """Apply an override, server-side. Raises ConflictError if another field manager owns it."""
    query = dry_run_query(dry_run) | ({"force": "true"} if force else {})
    try:
        return api.patch(pool.path, _only(pool, value), APPLY, query)
    except ConflictError as error:
        raise _held(pool, other_managers(pool.raw), str(error)) from None


def end_override(api: Api, pool: Pool, *, force: bool, dry_run: bool) -> Object:
    """Remove the override. Raises ConflictError if another field manager owns it."""
    others = other_managers(pool.raw)
    if not others:
        # An apply without it removes what only this field manager owns.
        return api.patch(pool.path, _only(pool, None), APPLY, dry_run_query(dry_run))
    if not force:
        raise _held(pool, others, "")
    version = pool.raw["metadata"]["resourceVersion"]
    gone = {BY_ANNOTATION: None, REASON_ANNOTATION: None}
    meta = {"resourceVersion": version, "annotations": gone}
    body = {"metadata": meta, "spec": {"override": None}}
    try:
        return api.patch(pool.path, body, MERGE, dry_run_query(dry_run))
    except ConflictError:
        raise changed(pool.name) from None


def _only(pool: Pool, parts: Object | None) -> Object:
    given = parts or {}
    body: Object = {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {
            "name": pool.name,
            "namespace": pool.namespace,
            **given.get("metadata", {}),
        },
    }
    return body | ({"spec": given["spec"]} if "spec" in given else {})


def _held(pool: Pool, others: list[str], said: str) -> ConflictError:
    who = " and ".join(others)
    reason = f"is owned by {who}" if who else f"is owned by another field manager ({said})"
    return ConflictError(
        f"the override of {pool.name} {reason}; take it over with --force-conflicts (a GitOps tool "
        "may write it again)"
    )


def _with(raw: Object, parts: Object) -> Object:
    """A pool with an override, or without, as the API server would answer."""
    spec = {key: inner for key, inner in raw["spec"].items() if key != "override"}
    meta, said = raw["metadata"], (BY_ANNOTATION, REASON_ANNOTATION)
    kept = {k: v for k, v in table(meta.get("annotations")).items() if k not in said}
    notes = kept | parts.get("metadata", {}).get("annotations", {})
    meta = {key: inner for key, inner in meta.items() if key != "annotations"}
    meta |= {"annotations": notes} if notes else {}
    return raw | {"metadata": meta, "spec": spec | parts.get("spec", {})}


# --- the commands ---


@dataclass(frozen=True)
class Done:
    """The result for one pool."""

    pool: Pool
    verb: str
    detail: str
    raw: Object

    def line(self, note: str = "") -> str:
        """The result in kubectl's form: TYPE/name verbed."""
        return f"warmpool.kotatsu.dev/{self.pool.name} {self.verb}{self.detail}{note}"


def watched(
    api: Api, pools: Sequence[Pool], shell: Shell, *, must: bool, patient: bool = False
) -> dict[str, Watch]:
    """The operators of the pools' namespaces. One that does not act is reported.

    If one `must` act, only those are that may start in a moment: without others it is an error.
    """
    found = watches(api, pools, shell, patient=patient)
    for one in found.values():
        if not patient and (one.may_start or not (one.acts or must)):
            shell.terminal.complain(f"note: {one.message}")
    return found


def write(api: Api, pool: Pool, value: Object | None, options: Namespace) -> Object:
    """Set the override of a pool, or end it (None); returns the pool, also of a dry run."""
    force, dry_run = options.force_conflicts, options.dry_run == "server"
    if options.dry_run == "client":
        return _with(pool.raw, value or {})
    if value is None:
        return end_override(api, pool, force=force, dry_run=dry_run)
    return set_override(api, pool, value, force=force, dry_run=dry_run)


def awake(pools: list[Pool], options: Namespace, command: str, shell: Shell) -> list[Pool]:
    """The pools of `chosen`; none may be suspended."""
    for pool in chosen(pools, options, command, len(shell.refused)):
        if pool.spec.suspend:
            raise DemoModeError(
                f"{pool.name} is suspended and ignores overrides; set spec.suspend to false"
            )
    return pools


def who(api: Api, user: str) -> str:
    """The name of the user in the cluster, or else on this machine."""
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", kind)
        name = answer["status"]["userInfo"]["username"]
    except (DemoModeError, KeyError):
        name = user
    return str(name)[:128]


def show(done: Sequence[Done], options: Namespace, shell: Shell) -> None:
    if options.output:
        shell.terminal.dump_objects([item.raw for item in done], options.output)
        return
    note = f" ({options.dry_run} dry run)" if options.dry_run else ""
    for item in done:
        shell.terminal.say(item.line(note))
