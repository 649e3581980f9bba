from __future__ import annotations

import base64
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rows import each

from kotatsu_node.cluster import manifests, second
from kotatsu_node.components import certs, commands, configuration, containerd
from kotatsu_node.components.commands import Setting
from kotatsu_node.layout import DNS_IP, PAUSE_IMAGE, Layout
from kotatsu_node.network import cni, netns

LAYOUT = Layout(state=Path("/state"), cache=Path("/cache"))
SETTING = Setting(LAYOUT, kube=Path("/cache/bin/kube"))


@each("name", commands.ORDER)
def test_each_component_writes_only_below_the_state_directory(name: str) -> None:
    command = commands.command(name, SETTING)
    assert command[0] == f"/cache/bin/kube/{name}"
    values = [argument.partition("=")[2] or argument for argument in command[1:]]
    paths = [value for value in values if value.startswith("/")]
    assert all(path.startswith("/state/") for path in paths)


def test_an_unknown_component_is_an_error() -> None:
    with pytest.raises(KeyError):
        commands.command("kube-turbo", SETTING)


def test_the_api_server_is_advertised_at_an_address_that_pods_can_reach() -> None:
    command = commands.command("kube-apiserver", SETTING)
    assert "--advertise-address=10.243.255.2" in command


def test_the_kubelet_asks_nothing_that_a_sandbox_refuses() -> None:
    kubelet = configuration.kubelet_configuration(SETTING)
    assert kubelet["oomScoreAdj"] == 0
    assert kubelet["failSwapOn"] is False
    assert kubelet["enforceNodeAllocatable"] == []
    proxy = configuration.proxy_configuration(SETTING, "kotatsu", "iptables")
    assert proxy["oomScoreAdj"] == 0
    assert isinstance(proxy["conntrack"], dict)
    assert not any(value not in (0, "0s") for value in proxy["conntrack"].values())


@pytest.mark.parametrize("mode", configuration.PROXY_MODES)
def test_the_mode_of_kube_proxy_is_kept_in_its_configuration(mode: str, tmp_path: Path) -> None:
    layout = Layout(state=tmp_path, cache=tmp_path)
    layout.config.mkdir()
    assert configuration.proxy_mode(layout) == "iptables"
    configuration.write_proxy(Setting(layout, tmp_path), "kube-proxy", "kotatsu", mode)
    assert configuration.proxy_mode(layout) == mode


def test_nothing_is_ever_scheduled_to_the_second_node() -> None:
    node = second.node_object()
    assert node["spec"]["unschedulable"] is True
    assert node["status"]["addresses"] == [{"type": "InternalIP", "address": "10.243.255.6"}]


def test_the_kubelet_never_collects_an_image_that_cannot_be_pulled_again() -> None:
    assert configuration.kubelet_configuration(SETTING)["imageGCHighThresholdPercent"] == 100


def test_containerd_keeps_all_it_has_below_the_state_directory() -> None:
    settings = tomllib.loads(containerd.configuration(LAYOUT, SETTING.kube))
    for place, value in leaves(settings):
        if isinstance(value, str) and value.startswith("/"):
            assert value.startswith(("/state/", "/cache/bin/kube")), place
    plugins = settings["plugins"]
    # Each of these has a default outside the state directory.
    assert plugins["io.containerd.shim.v1.manager"]["socket_dir"] == "/state/run/s"
    assert plugins["io.containerd.internal.v1.opt"]["path"]
    assert plugins["io.containerd.image-verifier.v1.bindir"]["bin_dir"]
    assert plugins["io.containerd.nri.v1.nri"] == {"disable": True}
    assert plugins["io.containerd.cri.v1.runtime"]["netns_mounts_under_state_dir"] is True
    assert settings["imports"] == plugins["io.containerd.cri.v1.runtime"]["cdi_spec_dirs"] == []
    pinned = plugins["io.containerd.cri.v1.images"]["pinned_images"]
    assert pinned == {"sandbox": PAUSE_IMAGE}


def test_only_the_registry_on_this_machine_is_asked_over_plain_http(tmp_path: Path) -> None:
    layout = Layout(state=tmp_path / "state", cache=tmp_path)
    layout.config.mkdir(parents=True)
    containerd.write(layout, Path("/programs"))
    settings = tomllib.loads((layout.config / "containerd.toml").read_text())
    images = settings["plugins"]["io.containerd.cri.v1.images"]
    found = {
        file.parent.name: tomllib.loads(file.read_text())
        for file in Path(images["registry"]["config_path"]).rglob("*")
        if file.is_file()
    }
    assert found == {"10.243.255.1:5000": {"server": "http://10.243.255.1:5000"}}


def leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}/{key}")
        else:
            found = value if isinstance(value, list) else [value]
            yield from ((f"{path}/{key}", one) for one in found)


def test_the_pod_network_is_routed_and_not_masqueraded() -> None:
    network = json.loads(cni.configuration(LAYOUT, ["10.244.0.0/16"]))
    assert network["plugins"][0]["type"] == "ptp"
    assert network["plugins"][0]["ipMasq"] is False


@pytest.mark.parametrize("subnets", [["10.244.0.0/16"], ["10.244.0.0/16", "fd0a:244::/64"]])
def test_a_pod_has_an_address_and_a_route_in_each_family(subnets: list[str]) -> None:
    ipam = json.loads(cni.configuration(LAYOUT, subnets))["plugins"][0]["ipam"]
    assert [r["subnet"] for (r,) in ipam["ranges"]] == subnets
    assert [r["dst"] for r in ipam["routes"]] == ["0.0.0.0/0", "::/0"][: len(subnets)]


def test_a_pod_with_two_families_does_not_wait_for_duplicate_address_detection(
    tmp_path: Path,
) -> None:
    layout = Layout(state=tmp_path / "state", cache=tmp_path)
    cni.write(layout, Path("/programs"))
    network = json.loads(cni.configuration(layout, ["10.244.0.0/16", "fd0a:244::/64"]))
    plugin = layout.cni_plugins / network["plugins"][0]["type"]
    assert os.access(plugin, os.X_OK)
    before, after = plugin.read_text().split("accept_dad")
    assert "ADD" in before
    assert after.endswith("exec /programs/ptp\n")


@pytest.mark.parametrize(("has_ipv6", "addresses"), [(True, 2), (False, 1)])
def test_components_are_told_of_the_families_there_are(
    monkeypatch: pytest.MonkeyPatch, has_ipv6: bool, addresses: int
) -> None:
    monkeypatch.setattr(netns, "has_ipv6", lambda: has_ipv6)
    [said] = [a for a in commands.command("kubelet", SETTING) if a.startswith("--node-ip=")]
    assert said.count(",") == addresses - 1
    proxy = configuration.proxy_configuration(SETTING, "n", "iptables")
    assert str(proxy["clusterCIDR"]).count(",") == addresses - 1


def test_a_kubeconfig_is_complete_in_itself(tmp_path: Path) -> None:
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (tmp_path / name).write_text(name)
    config = json.loads(json.dumps(configuration.kubeconfig(tmp_path, "admin")))
    user = config["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == b"admin.key"
    assert config["current-context"] == config["contexts"][0]["name"] == "kotatsu-node"


def test_the_api_server_certificate_is_valid_for_every_way_to_call_it() -> None:
    [apiserver] = [c for c in certs.CERTIFICATES if c.name == "apiserver"]
    text = certs.extensions(apiserver)
    for name in (
        "DNS:kubernetes.default.svc.cluster.local",
        "IP:127.0.0.1",
        "IP:10.96.0.1",
        "IP:10.243.255.2",
    ):
        assert name in text


def test_the_cluster_dns_is_where_the_kubelet_sends_pods() -> None:
    [service] = [item for item in manifests.dns(Path("/kube")) if item["kind"] == "Service"]
    assert service["spec"]["clusterIP"] == DNS_IP
    assert configuration.kubelet_configuration(SETTING)["clusterDNS"] == [DNS_IP]


def test_one_storage_class_is_the_default_and_every_volume_belongs_to_it() -> None:
    storage_class, *volumes = manifests.storage(Path("/state/volumes"))
    annotations = storage_class["metadata"]["annotations"]
    assert annotations == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert len(volumes) == manifests.VOLUMES
    assert {v["spec"]["storageClassName"] for v in volumes} == {storage_class["metadata"]["name"]}
    assert len({v["spec"]["hostPath"]["path"] for v in volumes}) == manifests.VOLUMES
