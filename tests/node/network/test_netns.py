from __future__ import annotations

from rows import each

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
