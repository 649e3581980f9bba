"""A real API server with the WarmPool CRD and no nodes: what kubectl and the plugin talk to.

tools/node's control plane on free ports of loopback. Nothing runs in it: the tests write the status
themselves, as the operator would. It is not the one of tests/apiserver, which all tests of a run
share: these tests read all namespaces, and make every pod Ready.
"""

import functools
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e import api
from plugin.kit import operator

from kotatsu_node.cluster.control_plane import ADMINISTRATORS, ControlPlane, control_plane
from kotatsu_node.layout import Layout
from kotatsu_operator.core.protocol import LEASE_NAME

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "charts/kotatsu/crds"
CRD = CRDS / "warmpools.kotatsu.dev.yaml"
LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": LEASE_NAME, "namespace": "kotatsu"},
    "spec": {
        "holderIdentity": "kotatsu-operator-1",
        "leaseDurationSeconds": 10**9,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    },
}
"""Says for years that the operator of the namespace demo acts; nothing runs on this server."""

USERS = {"admin": ADMINISTRATORS, "ann": "", "reader": ""}


@dataclass
class Api:
    """The server, as somebody of a kubeconfig sees it."""

    plane: ControlPlane

    @property
    def home(self) -> Path:
        """A directory that goes with the server."""
        return self.plane.admin.parent

    def kubeconfig(self, user: str = "admin", namespace: str = "demo") -> Path:
        """A kubeconfig of one user: `admin`, or `ann` and `reader` without any rights."""
        path = self.home / f"{user}-{namespace}.json"
        if path.exists():
            return path
        config = json.loads(self.plane.users[user].read_text())
        config["contexts"][0]["context"]["namespace"] = namespace
        # Whole at once: a kubectl of another thread may be about to read it.
        written = path.with_suffix(f".{threading.get_ident()}")
        written.write_text(json.dumps(config))
        return written.replace(path)

    def environment(self, user: str = "admin", namespace: str = "demo") -> dict[str, str]:
        """What a shell of this user has."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig(user, namespace)),
            "PATH": f"{self.plane.kubectl.parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
        }

    def run(
        self, *arguments: str, stdin: str | None = None, user: str = "admin"
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, whatever comes of it."""
        return subprocess.run(
            [str(self.plane.kubectl), *arguments],
            input=stdin,
            env=self.environment(user),
            capture_output=True,
            text=True,
            check=False,
        )

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str = "admin") -> str:
        """Run kubectl; an AssertionError with its words when it fails."""
        done = self.run(*arguments, stdin=stdin, user=user)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    @functools.cached_property
    def requests(self) -> api.Api:
        """The same without kubectl, which takes a tenth of a second of CPU for each."""
        return api.Api(str(self.plane.admin))

    def put(self, *objects: dict[str, Any]) -> None:
        """Have these pools and Deployments in the namespace demo, and no other."""
        for kind in ("warmpool", "deployment"):
            self.requests.change("DELETE", _path(kind))
        for obj in objects:
            self.requests.change("POST", f"{_path(obj['kind'].lower())}?{_AS_KUBECTL}", obj)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = self.requests.get(f"{_path(kind)}/{name}")
        return found

    def serves_crds(self) -> None:
        """Wait until the CRDs are served, which may be a moment later than they say."""
        self.kubectl("wait", "--for=condition=Established", "crd", "--all")
        for _ in range(300):
            if self.requests.send("GET", _path("warmpool")).is_success:
                return
            time.sleep(0.1)
        raise AssertionError("the API server does not serve WarmPools")

    def set_status(self, name: str, **status: Any) -> None:
        """Say what an operator would say of a pool."""
        path = f"{_path('warmpool')}/{name}/status"
        self.requests.change("PATCH", path, {"status": status}, "application/merge-patch+json")


_AS_KUBECTL = "fieldManager=kubectl-client-side-apply"


def _path(kind: str) -> str:
    path = api.path_of(kind, "demo")
    assert path, f"where objects of the kind {kind} are stands in e2e.api.PATHS"
    return path


@contextmanager
def serve() -> Iterator[Api]:
    """Run the control plane with the CRDs, the namespace `demo` and its operator in it."""
    with control_plane(Layout.from_environment(), USERS) as plane:
        server = Api(plane)
        server.kubectl("apply", "--server-side", "-f", str(CRDS))
        server.serves_crds()
        for namespace in ("demo", "kotatsu"):
            server.kubectl("create", "namespace", namespace)
        for object_ in (operator(), LEASE):
            server.kubectl("apply", "-f", "-", stdin=json.dumps(object_))
        yield server
        server.requests.close()
