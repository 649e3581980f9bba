"""A control plane without a node: what it is started with, and that nothing of it stays."""

from __future__ import annotations

import json
from pathlib import Path

import needs
import pytest

from kotatsu_node import shell
from kotatsu_node.cluster import control_plane
from kotatsu_node.layout import Layout

KUBE = Path("/cache/bin/kube")


def test_every_program_listens_on_loopback_only(tmp_path: Path) -> None:
    etcd = control_plane._etcd(KUBE, tmp_path, 1001, 1002)
    api = control_plane._apiserver(KUBE, tmp_path, 1001, 1003)
    listening = [a for a in etcd if a.startswith("--listen")] + [
        a for a in api if "bind-address" in a
    ]
    assert len(listening) == 3
    assert all("127.0.0.1" in a for a in listening)
    for program in (control_plane._controller_manager, control_plane._scheduler):
        assert "--secure-port=0" in program(KUBE, tmp_path)


def test_it_writes_below_its_own_directory_only(tmp_path: Path) -> None:
    commands = [
        *control_plane._etcd(KUBE, tmp_path, 1001, 1002),
        *control_plane._apiserver(KUBE, tmp_path, 1001, 1003),
        *control_plane._controller_manager(KUBE, tmp_path),
        *control_plane._scheduler(KUBE, tmp_path),
    ]
    values = [a.partition("=")[2] for a in commands if a.startswith("--")]
    paths = [value for value in values if value.startswith("/")]
    assert paths
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)


def test_free_ports_are_different_ones() -> None:
    assert len(set(control_plane.free_ports(5))) == 5


@pytest.mark.slow
def test_it_answers_its_users_logs_them_and_leaves_nothing() -> None:
    needs.kubernetes()
    users = {"somebody": control_plane.ADMINISTRATORS}
    with control_plane.control_plane(Layout.from_environment(), users) as plane:
        kubectl = [plane.kubectl, f"--kubeconfig={plane.users['somebody']}"]
        shell.call([*kubectl, "create", "deployment", "voice", "--image=none"])
        events = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
        state, pids = plane.admin.parent, plane.pids
    assert ("create", "deployments") in {(e["verb"], e["objectRef"]["resource"]) for e in events}
    assert {e["user"]["username"] for e in events} == {"somebody"}
    assert not state.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
