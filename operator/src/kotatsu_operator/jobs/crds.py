"""The CRD upgrade Job: replaces the cluster's CRDs by the packaged ones before `helm upgrade`.

Helm installs the files of a chart's crds/ once and never updates them, so the chart runs this in a
pre-upgrade Job. The Job replaces the whole spec. A server-side apply could not remove a field or a
rule, because Helm's field manager owns what Helm created. A newer CRD in the cluster stays.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, Client
from lightkube.generic_resource import create_global_resource

from kotatsu_operator.kube.resources import Object

REVISION = "kotatsu.dev/crd-revision"
"""Annotation on the packaged CRD: an integer that grows with each change of the schema."""

CustomResourceDefinition: Any = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)

_TRIES = 5


def revision(crd: Mapping[str, Any]) -> int:
    """The CRD's revision; 0 without the annotation."""
    text = (crd["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def replacement(installed: Object, packaged: Object) -> Object | None:
    """The object to replace the installed CRD with; None if the installed CRD is newer.

    At the same revision the CRD is replaced too, so an upgrade reverts manual edits. Labels and
    annotations that others have set stay.
    """
    if revision(packaged) < revision(installed):
        return None
    metadata = dict(installed["metadata"])
    for field in ("labels", "annotations"):
        merged = {**(metadata.get(field) or {}), **(packaged["metadata"].get(field) or {})}
        metadata.update({field: merged} if merged else {})
    metadata.pop("managedFields", None)
    return {**packaged, "metadata": metadata}


def upgrade(client: Any, packaged: Object) -> str:
    """Replace the cluster's CRD by the packaged one unless it is newer; return what was done.

    A CRD that is not installed is not created: the Job has no permission to. That is no failure,
    because some tools run the Job before they install the CRD.

    Raises ApiError when the API server rejects the CRD (also if it drops a version in which objects
    are stored), and TimeoutError after five conflicts.
    """
    name = packaged["metadata"]["name"]
    for _ in range(_TRIES):
        try:
            installed = client.get(CustomResourceDefinition, name)
        except ApiError as error:
            if error.status.code == 404:
                return (
                    f"{name}: not installed, so there is nothing to replace. If nothing else "
                    "installs it: `kubectl apply --server-side -f crds/`"
                )
            raise
        new = replacement(installed, packaged)
        if new is None:
            return (
                f"{name}: the cluster has revision {revision(installed)}, which is newer than the "
                f"packaged {revision(packaged)}: left as it is"
            )
        try:
            client.replace(CustomResourceDefinition(new))
        except ApiError as error:
            if error.status.code == 409:  # changed since it was read
                continue
            raise
        return f"{name}: revision {revision(packaged)} is in place (was {revision(installed)})"
    raise TimeoutError(f"{name} changed {_TRIES} times while it was being replaced; try again")


def main(arguments: Sequence[str] | None = None) -> int:
    """Upgrade every CRD in a directory of JSON files; return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("usage: python -m kotatsu_operator.jobs.crds DIRECTORY", file=sys.stderr)  # noqa: T201
        return 2
    client = Client(field_manager="kotatsu-crds", timeout=httpx2.Timeout(10.0))
    for path in sorted(Path(given[0]).glob("*.json")):
        try:
            print(upgrade(client, json.loads(path.read_text())))  # noqa: T201
        except (ApiError, httpx2.HTTPError, TimeoutError) as error:
            hint = "`kubectl apply --server-side --force-conflicts -f crds/` and crds.upgrade=false"
            print(f"{path.stem}: {error}\ntry: {hint}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
