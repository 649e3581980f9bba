"""From v1alpha1 to v1beta1, before `helm upgrade`: the CRD that serves both, and the pools.

The API server stores one form, and drops what the schema of the version does not have that is read
or written. So for as long as programs of both versions run, both schemas keep what only the other
one has: nothing that the old operator writes is lost to the new one, or the reverse. Each pool gets
the fields of v1beta1 beside those that it has. A later release, with a higher revision of the CRD,
ends this ([decision 72](docs/decisions/0072-from-v1alpha1.md)).

Each step can be repeated: a run that was killed is simply run again.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from lightkube import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.v1alpha1 import CONVERTED, SUCCESSORS, fingerprint, spec_from
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import NotFoundError, is_refusal, retry_on_conflict
from kotatsu_operator.kube.objects import Key, Object, key_of

CustomResourceDefinition: Any = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)

OLD, NEW = "v1alpha1", "v1beta1"

SETTLE = 5.0
"""Seconds after which every API server has a changed CRD. Kubernetes waits as long itself."""

Say = Callable[[str], None]

_ANY = "x-kubernetes-preserve-unknown-fields"

_KEPT: tuple[tuple[str, ...], ...] = (
    *((name,) for name in ("prewarm", "scaling", "wake", "drain", "parked", "closedOn")),
    *(("budget", name) for name in ("currency", "prices", "group")),
    *(("override", name) for name in ("by", "reason")),
    ("metrics", "lastRequestName"),
    ("windows", "from"),
    ("calendars", "match"),
)
"""Fields of the spec that only v1alpha1 has, or has in another form."""

_WARNING = (
    "kotatsu.dev/v1alpha1 WarmPool: an operator of v1beta1 does not read the fields that only"
    " v1alpha1 has. Convert the manifest: `kubectl demo-mode convert -f FILE`"
)


class ConversionError(Exception):
    """Pools could not be converted; the message names them, and says what to do."""


def is_needed(installed: Object, packaged: Object, *, is_later: bool) -> bool:
    """Whether the cluster's CRD has v1alpha1, and programs may need it.

    `is_later` says that the packaged CRD has a higher revision than the installed one: then this
    ends, if the pools were converted before.
    """
    if NEW not in _versions(packaged):
        return False
    return OLD in _stored(installed) or (OLD in _versions(installed) and not is_later)


def transitional(packaged: Object) -> Object:
    """The packaged CRD, which serves v1alpha1 too, and keeps what only that version has."""
    made = copy.deepcopy(packaged)
    new = next(v for v in made["spec"]["versions"] if v["name"] == NEW)
    spec = new["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for path in _KEPT:
        node = spec
        for name in path[:-1]:
            node = node["properties"].get(name, {})
            node = node.get("items", node)
        if "properties" in node:
            if path[-1] in node["properties"]:
                # A rule cannot read what may be anything.
                node.pop("x-kubernetes-validations", None)
            node["properties"][path[-1]] = {_ANY: True, "description": "Of v1alpha1."}
    target = spec["properties"]["targetRef"]
    anything = {"type": "object", _ANY: True}
    # Little is validated, because a converted pool is in both forms: what is read of a pool before
    # it is judged. The old operator has all defaults itself but those of the target.
    first = {
        "targetRef": anything | {"required": ["name"], "properties": target["properties"]},
        "dependsOn": {"type": "array", "items": {"type": "string"}},
    }
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": anything | {"required": ["targetRef"], "properties": first},
            "status": anything,
        },
    }
    made["spec"]["versions"].append(
        {
            "name": OLD,
            "served": True,
            "storage": False,
            "deprecated": True,
            "deprecationWarning": _WARNING,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        }
    )
    return made


async def convert(kube: Kube, crd: Object, say: Say) -> None:
    """Convert each pool of the cluster, whose CRD is the transitional one.

    When all are, the cluster stores nothing in v1alpha1, and the CRD says so. Raises
    ConversionError, and one of `Unreachable` also if an API server does not serve v1beta1 yet.
    """
    group, names, is_stored = crd["spec"]["group"], crd["spec"]["names"], OLD in _stored(crd)
    old, new = (
        create_namespaced_resource(group, version, names["kind"], names["plural"])
        for version in (OLD, NEW)
    )
    rejected, done = [], 0
    for key in map(key_of, await kube.find(old, "*")):
        where = "WarmPool {}/{}".format(*key)
        try:
            notes = await retry_on_conflict(partial(_converted, kube, old, new, key, is_stored))
        except ApiError as error:
            if not is_refusal(error):
                raise
            rejected.append(f"{where}: {error}")
            continue
        if notes is not None:
            done += 1
            say(f"{where}: converted to {NEW}")
        for note in notes or ():
            say(f"{where}: {note}")
    if rejected:
        listed = "\n".join(rejected)
        raise ConversionError(
            f"{listed}\nThe API server rejects these WarmPools as {NEW}. Correct them and upgrade "
            "again: all other WarmPools are converted, and all pools run as before"
        )
    if is_stored:
        patch = {"status": {"storedVersions": [NEW]}}
        await kube.merge(CustomResourceDefinition.Status, None, crd["metadata"]["name"], patch)
    say(f"{done} WarmPools converted; {OLD} is served until a release with another CRD")


async def _converted(
    kube: Kube, old: Any, new: Any, key: Key, is_stored: bool
) -> tuple[str, ...] | None:
    """Convert one pool; the notes, or None if there is nothing to convert."""
    try:
        patch, notes = patch_of(await kube.get(old, *key))
        if patch is not None or is_stored:
            # A pool with nothing to convert is written too: so it is stored as v1beta1.
            await kube.merge(new, *key, patch or {})
    except NotFoundError:
        return None  # it is deleted
    return None if patch is None else notes


def patch_of(pool: Object) -> tuple[Object | None, tuple[str, ...]]:
    """The merge patch that adds v1beta1 to a pool, and notes; None if the pool has it already.

    It is made again if fields of v1alpha1 have changed since: then they are the newer ones.
    """
    metadata, spec = pool["metadata"], pool["spec"]
    mark = fingerprint(spec)
    known = (metadata.get("annotations") or {}).get(CONVERTED, "")
    if mark in ("", known):
        return None, ()
    made = spec_from({n: v for n, v in spec.items() if n not in SUCCESSORS or n == "calendars"})
    changes = {n: made.spec.get(n) for n in SUCCESSORS if made.spec.get(n) != spec.get(n)}
    patch = {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "annotations": made.annotations | {CONVERTED: fingerprint(spec | changes)},
        },
        "spec": changes,
    }
    return patch, made.notes


def _versions(crd: Object) -> list[str]:
    return [version["name"] for version in crd["spec"].get("versions") or ()]


def _stored(crd: Object) -> list[str]:
    return list(table(crd.get("status")).get("storedVersions") or ())
