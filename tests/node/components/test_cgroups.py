from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from kotatsu_node.components import cgroups, configuration
from kotatsu_node.components.commands import Setting
from kotatsu_node.layout import Layout


@pytest.fixture
def v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree like that of cgroup v1: one hierarchy per controller."""
    for controller in ("cpuset", "memory"):
        (tmp_path / controller).mkdir()
        (tmp_path / controller / "cgroup.procs").touch()
        (tmp_path / controller / "tasks").touch()
    for name in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / name).write_text("0-1\n")
    (tmp_path / "no-hierarchy").mkdir()
    monkeypatch.setattr(cgroups.hierarchies, "__defaults__", (tmp_path,))
    return tmp_path


def test_with_v1_there_is_a_group_in_every_hierarchy(v1: Path) -> None:
    assert cgroups.hierarchies() == [v1 / "cpuset", v1 / "memory"]
    cgroups.create()
    assert (v1 / "memory" / cgroups.NAME).is_dir()


def test_with_v2_there_is_one_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "system.slice").mkdir()
    (tmp_path / "system.slice" / "cgroup.procs").touch()
    assert cgroups.hierarchies(tmp_path) == [tmp_path]


def test_a_new_cpuset_may_use_what_the_machine_may(v1: Path) -> None:
    cgroups.create()
    cgroups.create()
    assert (v1 / "cpuset" / cgroups.NAME / "cpuset.cpus").read_text() == "0-1\n"


def test_only_our_own_groups_are_removed(v1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "time", Mock())  # files that a real hierarchy lets go of
    cgroups.create()
    (v1 / "memory" / cgroups.NAME / "kubepods" / "pod1").mkdir(parents=True)
    (v1 / "memory" / "kubepods").mkdir()
    cgroups.remove()
    assert not (v1 / "memory" / cgroups.NAME).exists()
    assert (v1 / "memory" / "kubepods").is_dir()


def test_the_kubelet_puts_its_pods_below_our_group() -> None:
    setting = Setting(Layout(Path("/state"), Path("/cache")), Path("/kube"))
    assert configuration.kubelet_configuration(setting)["cgroupRoot"] == f"/{cgroups.NAME}"
