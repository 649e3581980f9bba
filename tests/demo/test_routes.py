"""Routes to a kind cluster: which, who may set them, and that they go again."""

import json
import os

import pytest

from kotatsu_demo import routes
from kotatsu_demo.errors import MissingError
from kotatsu_demo.kube import Kube
from kotatsu_demo.routes import Route, routes_of

KUBE = Kube("kind-mine", {}, "demo")


def node(name: str, address: str, *networks: str) -> dict:
    addresses = [
        {"type": "Hostname", "address": name},
        {"type": "InternalIP", "address": address},
        {"type": "InternalIP", "address": "fc00::1"},
    ]
    return {
        "metadata": {"name": name},
        "spec": {"podCIDR": networks[0], "podCIDRs": list(networks)},
        "status": {"addresses": addresses},
    }


NODES = [node("mine-control-plane", "172.18.0.2", "10.244.0.0/24", "fd00::/64")]
NODES += [node("mine-worker", "172.18.0.3", "10.244.1.0/24")]
CLUSTER = {"networking": {"serviceSubnet": "10.96.0.0/16,fd01::/112"}}


def test_services_are_reached_through_the_first_node_and_pods_through_their_own():
    assert routes_of(NODES, CLUSTER) == [
        Route("10.96.0.0/16", "172.18.0.2"),
        Route("10.244.0.0/24", "172.18.0.2"),
        Route("10.244.1.0/24", "172.18.0.3"),
    ]


@pytest.fixture
def cluster(programs, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"data": {"ClusterConfiguration": json.dumps(CLUSTER)}}
    programs.add("kubectl", get_nodes=json.dumps({"items": NODES}), configmap=json.dumps(config))
    programs.add("ip")
    # No route at first, and one after the routes are set.
    monkeypatch.setattr(
        routes, "are_needed", lambda _: not any("10.96" in call for call in programs.calls)
    )


@pytest.mark.usefixtures("cluster")
def test_root_sets_the_routes_and_removes_them(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    record = tmp_path / "work" / "routes.json"
    assert routes.open_to(KUBE, record)
    programs.index("ip route replace 10.96.0.0/16 via 172.18.0.2")
    routes.close(record)
    programs.index("ip route delete 10.244.1.0/24 via 172.18.0.3")
    assert not record.exists()


@pytest.mark.usefixtures("cluster")
def test_where_they_cannot_be_set_it_says_so(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    programs.script("ip", "#!/bin/sh\necho not permitted >&2; exit 2\n")
    with pytest.raises(MissingError) as caught:
        routes.open_to(KUBE, tmp_path / "routes.json")
    assert "not permitted" in caught.value.report()
    assert "as root" in caught.value.hint
