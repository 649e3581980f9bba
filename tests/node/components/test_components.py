from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rows import each

from kotatsu_node.components import commands, configuration, containerd
from kotatsu_node.components.commands import Setting
from kotatsu_node.layout import PAUSE_IMAGE, Layout

LAYOUT = Layout(state=Path("/state"), cache=Path("/cache"))
SETTING = Setting(LAYOUT, kube=Path("/cache/bin/kube"))


@each("name", commands.ORDER)
def test_each_component_writes_only_below_the_state_directory(name: str) -> None:
    command = commands.command(name, SETTING)
    assert command[0] == f"/cache/bin/kube/{name}"
    values = [argument.partition("=")[2] or argument for argument in command[1:]]
    paths = [value for value in values if value.startswith("/")]
    assert all(path.startswith("/state/") for path in paths)


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
