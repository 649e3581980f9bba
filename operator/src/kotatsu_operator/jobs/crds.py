"""Brings the cluster's CRDs up to the packaged ones before an upgrade; never back to older ones.

Helm installs a chart's crds/ once and never touches them again, so the chart runs this in a
pre-upgrade Job. The whole spec is replaced rather than applied server-side: what Helm created stays
owned by Helm's field manager, so an apply would never take a field or a rule away.
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
"""Annotation on the packaged CRD: a whole number that grows with each change of its schema."""

CustomResourceDefinition: Any = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)

_TRIES = 5


def revision(crd: Mapping[str, Any]) -> int:
    """The CRD's revision; 0 when it tells none."""
    text = (crd["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def replacement(installed: Object, packaged: Object) -> Object | None:
    """What to put in place of the installed CRD; None when that is newer.

    At the same revision it is replaced too: an edit by hand does not outlive an upgrade. Labels and
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
    """Replace the cluster's CRD by the packaged one unless it is newer; returns what was done.

    Raises ApiError when the API server refuses (it also refuses to drop a version that objects are
    stored in).
    """
    name = packaged["metadata"]["name"]
    for _ in range(_TRIES):
        installed = client.get(CustomResourceDefinition, name)
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
    """Upgrade every CRD in a directory of JSON files; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("usage: python -m kotatsu_operator.crds DIRECTORY", file=sys.stderr)  # noqa: T201
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
