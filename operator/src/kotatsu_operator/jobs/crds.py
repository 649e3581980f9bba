"""The CRD upgrade Job: replaces the cluster's CRDs by the packaged ones before `helm upgrade`.

Helm never updates what it installs from crds/, nor adds to it. A server-side apply could not remove
a field, because Helm's field manager owns it. A newer CRD in the cluster stays.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightkube.generic_resource import create_global_resource

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import (
    ApiError,
    ConflictError,
    NotFoundError,
    Unreachable,
    retry_on_conflict,
)
from kotatsu_operator.kube.objects import Object

CustomResourceDefinition: Any = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)

Say = Callable[[str], None]

_FORBIDDEN = 403

REVISION = "kotatsu.dev/crd-revision"
"""Annotation on the packaged CRD: an integer that grows with each change of the schema."""


def revision(crd: Mapping[str, Any]) -> int:
    """The CRD's revision; 0 without the annotation."""
    text = (crd["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def replacement(installed: Object, packaged: Object) -> Object | None:
    """The object to replace the installed CRD with; None if the installed CRD is newer.

    At the same revision too, which reverts manual edits. Labels and annotations of others stay.
    """
    if revision(packaged) < revision(installed):
        return None
    metadata = dict(installed["metadata"])
    for field in ("labels", "annotations"):
        merged = {**(metadata.get(field) or {}), **(packaged["metadata"].get(field) or {})}
        metadata.update({field: merged} if merged else {})
    metadata.pop("managedFields", None)
    return {**packaged, "metadata": metadata}


async def upgrade(kube: Kube, packaged: Object, say: Say = print) -> None:
    """Replace the cluster's CRD by the packaged one unless it is newer; say what was done.

    A missing CRD is created, if this account may: some tools install it after the Job. Raises
    ApiError when the API server rejects the CRD, and ConflictError if it changes all the time.
    """
    name = packaged["metadata"]["name"]

    async def attempt() -> str:
        try:
            installed = await kube.get(CustomResourceDefinition, None, name)
        except NotFoundError:
            return await _created(kube, packaged)
        before, now = revision(installed), revision(packaged)
        new = replacement(installed, packaged)
        if new is None:
            return (
                f"{name}: the cluster has revision {before}, which is newer than the packaged "
                f"{now}: left as it is"
            )
        await kube.replace(CustomResourceDefinition, None, new)
        return f"{name}: revision {now} is in place (was {before})"

    say(await retry_on_conflict(attempt))


async def _created(kube: Kube, packaged: Object) -> str:
    """Create a CRD; what to say of it."""
    name = packaged["metadata"]["name"]
    try:
        await kube.apply(CustomResourceDefinition, packaged)
    except ApiError as error:
        if error.code != _FORBIDDEN:
            raise
        return (
            f"{name}: not installed, so there is nothing to replace. If nothing else installs "
            "it: `kubectl apply --server-side -f crds/`"
        )
    return f"{name}: created"


async def _upgrade_all(files: Mapping[Path, Object]) -> int:
    kube = Kube.connect("kotatsu-crds")
    try:
        for path, packaged in files.items():
            try:
                await upgrade(kube, packaged)
            except (ConflictError, NotFoundError, *Unreachable) as error:
                hint = "`kubectl apply --server-side --force-conflicts -f crds/`"
                hint += " and crds.upgrade=false"
                print(f"{path.stem}: {error}\ntry: {hint}", file=sys.stderr)  # noqa: T201
                return 1
    finally:
        await kube.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Upgrade every CRD in a directory of JSON files; return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("usage: python -m kotatsu_operator.jobs.crds DIRECTORY", file=sys.stderr)  # noqa: T201
        return 2
    files = {path: json.loads(path.read_text()) for path in sorted(Path(given[0]).glob("*.json"))}
    return asyncio.run(_upgrade_all(files))


if __name__ == "__main__":
    sys.exit(main())
