from __future__ import annotations

from pathlib import Path
from typing import Any

from rows import each

from kotatsu_node import mounts
from kotatsu_node.build import binaries
from kotatsu_node.cluster import volumes
from kotatsu_node.components import containers

SOCKET = "/state/run/containerd/containerd.sock"
MOUNTINFO = r"""
22 27 0:21 / /proc rw - proc proc rw
90 27 0:50 / /state/kubelet/pods/a rw - tmpfs tmpfs rw
91 90 0:51 / /state/kubelet/pods/a/deeper rw - tmpfs tmpfs rw
92 27 0:52 / /state/with\040space rw - tmpfs tmpfs rw
93 27 0:53 / /state-of-another rw - tmpfs tmpfs rw
""".strip()


def test_mounts_are_taken_away_innermost_first_and_only_ours() -> None:
    assert mounts.below(Path("/state"), MOUNTINFO) == [
        "/state/with space",
        "/state/kubelet/pods/a/deeper",
        "/state/kubelet/pods/a",
    ]


@each(
    "arguments, is_ours",
    [
        (["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", SOCKET], True),
        (["/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd.sock"], False),
        (["less", SOCKET], False),
        ([""], False),
        ([], False),
    ],
)
def test_only_shims_of_our_containerd_are_ours(arguments: list[str], is_ours: bool) -> None:
    assert containers.is_shim_of(arguments, SOCKET) is is_ours


def volume(name: str, phase: str, storage_class: str = "standard") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"storageClassName": storage_class},
        "status": {"phase": phase},
    }


def test_a_volume_is_offered_anew_only_when_it_is_ours_and_its_claim_is_gone() -> None:
    assert volumes.is_released(volume("volume-1", "Released"))
    assert not volumes.is_released(volume("volume-1", "Bound"))
    assert not volumes.is_released(volume("volume-1", "Released", "fast"))
    assert not volumes.is_released(volume("data", "Released"))


def test_a_cached_binary_has_another_name_when_anything_it_is_made_from_changes(
    tmp_path: Path,
) -> None:
    source = tmp_path / "go.sum"
    source.write_text("one")
    first = binaries.key([source], "go1.26")
    assert first == binaries.key([source], "go1.26")
    assert first != binaries.key([source], "go1.27")
    source.write_text("two")
    assert first != binaries.key([source], "go1.26")
