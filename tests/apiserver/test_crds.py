"""The Job before an upgrade on a real API server: which CRD is in place, and what pools keep.

Each test has the CRDs under an API group of its own, because the control plane is shared.
"""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.keeper import Plane
from apiserver.kit import Namespace
from chart import kit as chart
from e2e.kit import Object

from kotatsu_operator.jobs import crds

pytestmark = pytest.mark.apiserver

WARM_POOLS, HISTORIES = "warmpools", "warmpoolhistories"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
SPEC = {"targetRef": TARGET, "idleAfter": "45s"}
STATUS = {"phase": "Asleep", "internal": {"version": 1, "foundReplicas": 3}}


class Cluster:
    """The CRDs of one group, and a pool."""

    def __init__(self, kubectl: Namespace, plane: Plane) -> None:
        self.kubectl, self.plane = kubectl, plane
        # After kotatsu.dev in the alphabet: kubectl takes the first group that has a resource, and
        # other tests say `warmpool`.
        self.group = f"z{uuid.uuid4().hex[:8]}.kotatsu.dev"
        self.packaged = {plural: self._packaged(plural) for plural in (WARM_POOLS, HISTORIES)}

    def _packaged(self, plural: str) -> Object:
        """A CRD of the chart under this group. The plural stays: the Job's Role names it."""
        name = f"{plural}.kotatsu.dev"
        text = (chart.CHARTS / f"kotatsu/crds/{name}.yaml").read_text()
        crd: Object = yaml.safe_load(text.replace(name, f"{plural}.{self.group}"))
        crd["spec"]["group"] = self.group
        names = crd["spec"]["names"]
        crd["spec"]["names"] = {name: names[name] for name in ("kind", "plural", "singular")}
        return crd

    def has(self, revision: str) -> None:
        """Install another revision of the CRD of WarmPools, and a pool."""
        crd = self.packaged[WARM_POOLS] | {"metadata": {"name": f"{WARM_POOLS}.{self.group}"}}
        crd["metadata"]["annotations"] = {crds.REVISION: revision}
        crd["metadata"]["labels"] = {"team": "demo"}
        (version,) = crd["spec"]["versions"]
        other = version | {"additionalPrinterColumns": []}
        self.kubectl.apply(crd | {"spec": crd["spec"] | {"versions": [other]}})
        kind = {"apiVersion": f"{self.group}/v1beta1", "kind": "WarmPool"}
        self.kubectl.apply({**kind, "metadata": {"name": "web"}, "spec": SPEC})
        patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": STATUS}))
        self.kubectl("patch", self._warm_pools, "web", *patch)

    @property
    def _warm_pools(self) -> str:
        return f"{WARM_POOLS}.{self.group}"

    def pool(self) -> Any:
        return self.kubectl.get(self._warm_pools, "web")

    def crd(self, plural: str = WARM_POOLS) -> Any:
        return self.kubectl.get("crd", f"{plural}.{self.group}")

    async def upgrade(self, folder: Path) -> str:
        """Run the Job as a process, with the Role that the chart gives it; what it says."""
        name = f"crds-{self.group}"
        roles = {r["metadata"]["name"]: r for r in chart.render("kotatsu").of("ClusterRole")}
        rules = json.dumps(roles["kotatsu-crds-here"]["rules"]).replace("kotatsu.dev", self.group)
        rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        account = {"kind": "ServiceAccount"}
        self.kubectl.apply(
            {"apiVersion": "v1", **account, "metadata": {"name": name}},
            {**rbac, "kind": "ClusterRole", "rules": json.loads(rules)},
            {
                **rbac,
                "kind": "ClusterRoleBinding",
                "roleRef": role,
                "subjects": [account | {"name": name, "namespace": self.kubectl.namespace}],
            },
        )
        config = yaml.safe_load(self.kubectl("config", "view", "--raw"))
        config["users"][0]["user"] = {"token": self.kubectl("create", "token", name).strip()}
        (folder / "kubeconfig").write_text(json.dumps(config))
        for plural, crd in self.packaged.items():
            (folder / f"{plural}.json").write_text(json.dumps(crd))
        done = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kotatsu_operator.jobs.crds", str(folder)),
            env=os.environ | {"KUBECONFIG": str(folder / "kubeconfig")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await done.communicate()
        assert done.returncode == 0, output.decode()
        return output.decode()


@pytest.fixture
def cluster(plane: Plane, namespace: Namespace) -> Iterator[Cluster]:
    made = Cluster(namespace, plane)
    yield made
    for plural in made.packaged:
        made.kubectl.delete("crd", f"{plural}.{made.group}")


async def test_a_newer_crd_replaces_an_older_one_and_keeps_its_objects(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.has(revision="0")
    before = cluster.pool()

    said = await cluster.upgrade(tmp_path)

    assert f"warmpools.{cluster.group}: revision" in said
    assert f"warmpoolhistories.{cluster.group}: created" in said
    assert cluster.pool() == before
    assert (before["spec"] | SPEC, before["status"]) == (before["spec"], STATUS)
    crd, packaged = cluster.crd(), cluster.packaged[WARM_POOLS]
    assert crd["metadata"]["labels"] == {"team": "demo"}
    assert crds.revision(crd) == crds.revision(packaged)
    columns = packaged["spec"]["versions"][0]["additionalPrinterColumns"]
    assert crd["spec"]["versions"][0]["additionalPrinterColumns"] == columns


async def test_an_older_crd_is_left_where_a_newer_one_is(cluster: Cluster, tmp_path: Path) -> None:
    cluster.has(revision="1000")
    before = cluster.crd(), cluster.pool()

    said = await cluster.upgrade(tmp_path)

    assert "revision 1000, which is newer than the packaged" in said
    assert (cluster.crd(), cluster.pool()) == before
