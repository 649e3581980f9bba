from __future__ import annotations

import struct

from rows import each

from kotatsu_node.cluster import api, second
from kotatsu_node.network import netns


@each(
    "free", ["default", "10.0.0.0/8", "192.168.1.0/24", "10.243.254.0/24", "fd00::/8", "fe80::/64"]
)
def test_other_and_wider_routes_do_not_disturb(free: str) -> None:
    assert netns.clashes(free) == ""


@each(
    "taken, ours",
    [
        ("10.96.0.0/16", "10.96.0.0/16"),
        ("10.244.3.0/24", "10.244.0.0/16"),
        ("10.243.255.1", "10.243.255.0/30"),
        ("10.243.255.6", "10.243.255.4/30"),
        ("fd0a:96::10", "fd0a:96::/112"),
        ("fd0a:244::/64", "fd0a:244::/64"),
    ],
)
def test_a_route_to_a_part_of_our_networks_is_a_clash(taken: str, ours: str) -> None:
    assert netns.clashes(taken) == ours


def test_a_process_enters_only_the_network_namespace() -> None:
    command = netns.inside("kubelet", "--flag")
    assert command[0] == "nsenter"
    assert command[-2:] == ["kubelet", "--flag"]
    assert sum(part.startswith("--") for part in command[:-2]) == 2  # --net=… and the bare --


def test_a_process_can_enter_another_namespace() -> None:
    command = netns.inside("kube-proxy", namespace=second.PATH)
    assert command == ["nsenter", "--net=/run/netns/kotatsu-second", "--", "kube-proxy"]


def test_a_dns_question_is_what_the_standard_says() -> None:
    question = api.dns_query("a.bc", 0x1234)
    assert struct.unpack(">6H", question[:12]) == (0x1234, 0x0100, 1, 0, 0, 0)
    assert question[12:] == b"\x01a\x02bc\x00" + struct.pack(">2H", 1, 1)


def test_a_node_is_ready_only_when_its_condition_says_so() -> None:
    def node(status: str) -> dict[str, object]:
        condition = {"type": "Ready", "status": status, "message": "network plugin not ready"}
        return {"status": {"conditions": [{"type": "DiskPressure", "status": "True"}, condition]}}

    assert api.ready_reason(node("True")) == ""
    assert api.ready_reason(node("False")) == "network plugin not ready"
    assert api.ready_reason({}) == "the kubelet has not reported yet"
