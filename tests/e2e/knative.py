"""Knative's API without Knative: its CRDs, and a hand that writes what its controllers would.

The CRDs come from the module knative.dev/serving, by Go's module proxy and checked against a pinned
sum. There are no controllers and no webhooks: what a test shows is what Kotatsu reads and writes.
"""

import functools
import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from e2e.kit import Kubectl, Object

MODULE, VERSION = "knative.dev/serving", "v0.51.0"
SUM = "h1:yN2Q7eYqJgoPfZkATjoBZyGbZ2P1Qhns9HIMU4mF+to="

CRDS = ("services.serving.knative.dev", "revisions.serving.knative.dev")
MIN_SCALE = "autoscaling.knative.dev/min-scale"


@functools.cache
def crd_files() -> list[Path] | str:
    """The CRDs' manifests, or a sentence why there are none."""
    if shutil.which("go") is None:
        return "no Go, which fetches Knative's CRDs"
    got = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    said = json.loads(got.stdout or "{}")
    if got.returncode != 0:
        return f"cannot fetch {MODULE}@{VERSION}: {said.get('Error', got.stderr).strip()}"
    assert said["Sum"] == SUM, f"{MODULE}@{VERSION} is not what it was: {said['Sum']}"
    folder = Path(said["Dir"]) / "config" / "core" / "300-resources"
    return [folder / "service.yaml", folder / "revision.yaml"]


@dataclass
class Played:
    """A Knative Service whose status is written by hand."""

    kubectl: Kubectl
    name: str
    revisions: list[str] = field(default_factory=list)

    def create(self) -> None:
        container = {"image": "localhost/none:dev"}
        self.kubectl.apply(
            {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Service",
                "metadata": {"name": self.name},
                "spec": {"template": {"spec": {"containers": [container]}}},
            }
        )

    def add_revision(self, **annotations: str) -> str:
        """A Ready Revision without pods."""
        name = f"{self.name}-{len(self.revisions) + 1:05}"
        self.revisions.append(name)
        self.kubectl.apply(
            {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Revision",
                "metadata": {
                    "name": name,
                    "labels": {"serving.knative.dev/service": self.name},
                    "annotations": annotations,
                },
                "spec": {"containers": [{"image": "localhost/none:dev"}]},
            }
        )
        self.scale(name, 0)
        return name

    def scale(self, revision: str, replicas: int) -> None:
        """All pods that are wanted are Ready."""
        self._status(
            f"revisions.serving.knative.dev/{revision}",
            {
                "actualReplicas": replicas,
                "desiredReplicas": replicas,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        )

    def route(self, **traffic: int) -> None:
        """Send the requests to Revisions, in percent."""
        entries = [{"revisionName": r.replace("_", "-"), "percent": p} for r, p in traffic.items()]
        self._status(
            f"services.serving.knative.dev/{self.name}",
            {"traffic": entries, "conditions": [{"type": "Ready", "status": "True"}]},
        )

    def min_scale(self, revision: str) -> str | None:
        """What the Revision's annotation says now."""
        obj: Object = self.kubectl.get("revisions.serving.knative.dev", revision)
        annotations = obj["metadata"].get("annotations") or {}
        return None if MIN_SCALE not in annotations else str(annotations[MIN_SCALE])

    def _status(self, target: str, status: Object) -> None:
        self.kubectl(
            *("patch", target, "--subresource=status", "--type=merge"),
            *("-p", json.dumps({"status": status})),
        )
