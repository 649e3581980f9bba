"""A control plane without a node: it is reached on loopback alone, and nothing of it stays."""

from __future__ import annotations

import json
from pathlib import Path

import needs
import pytest

from kotatsu_node import shell
from kotatsu_node.cluster import control_plane
from kotatsu_node.layout import Layout


@pytest.mark.slow
def test_it_answers_its_users_logs_them_and_leaves_nothing() -> None:
    needs.kubernetes()
    users = {"somebody": control_plane.ADMINISTRATORS}
    with control_plane.control_plane(Layout.from_environment(), users) as plane:
        kubectl = [plane.kubectl, f"--kubeconfig={plane.users['somebody']}"]
        shell.call([*kubectl, "create", "deployment", "voice", "--image=none"])
        events = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
        state, pids = plane.admin.parent, plane.pids
        flags = [
            flag
            for pid in pids.values()
            for flag in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        ]
    assert ("create", "deployments") in {(e["verb"], e["objectRef"]["resource"]) for e in events}
    assert {e["user"]["username"] for e in events} == {"somebody"}
    listening = [f for f in flags if f.startswith(("--listen-", "--bind-address="))]
    assert len(listening) == 3
    assert all("127.0.0.1" in flag for flag in listening)
    assert "--secure-port=0" in flags  # that of the controller manager
    assert not state.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
