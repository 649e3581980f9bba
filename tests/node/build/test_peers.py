from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kotatsu_node.build import peers
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout, sources


def compile_nothing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Build empty files in place of programs; the modules that were built from."""
    built: list[str] = []

    def compile_it(source: Path, output: Path, *_: object) -> None:
        built.append(source.name)
        output.touch()

    monkeypatch.setattr(peers, "go_build", compile_it)
    monkeypatch.setattr(peers, "go_version", lambda: "go1.26.1")
    return built


def test_it_is_built_once_and_again_for_another_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = compile_nothing(monkeypatch)
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    first = peers.build("prometheus", layout, tmp_path / "log")
    assert first.is_file()
    assert peers.build("prometheus", layout, tmp_path / "log") == first
    assert built == ["prometheus"]
    monkeypatch.setattr(peers, "go_version", lambda: "go1.27.0")
    assert peers.build("prometheus", layout, tmp_path / "log") != first


def test_files_of_ours_replace_those_of_a_module_where_a_peer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, source, built = tmp_path / "published", tmp_path / "peers/odd", {}
    for file, text in (
        (published / "kept.go", "theirs"),
        (published / "list/big.go", "theirs"),
        (source / "go.mod", "module odd"),
        (source / "library/list/big.go", "ours"),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def compile_it(folder: Path, output: Path, *_: object) -> None:
        built.update({f.relative_to(folder): f.read_text() for f in folder.rglob("*.*")})
        output.touch()

    monkeypatch.setattr(peers, "sources", lambda: tmp_path)
    monkeypatch.setattr(peers, "go_build", compile_it)
    monkeypatch.setattr(peers, "go_version", lambda: "go1.26.1")
    monkeypatch.setattr(peers, "module_sources", lambda *_: published)
    monkeypatch.setitem(peers.PEERS, "odd", peers.Peer("odd", patched=(("theirs", "library"),)))
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    peers.build("odd", layout, tmp_path / "log")
    assert built == {
        Path("go.mod"): "module odd",
        Path("library/kept.go"): "theirs",
        Path("library/list/big.go"): "ours",
    }


def test_sources_of_a_module_are_those_of_the_version_in_go_mod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def call(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 0, stdout='{"Dir": "/modules/there"}')

    monkeypatch.setattr(peers.shell, "call", call)
    assert peers.module_sources("traefik", "sigs.k8s.io/gateway-api") == Path("/modules/there")
    [version] = re.findall(r"sigs.k8s.io/gateway-api (\S+)", peers._modfile("traefik"))
    assert asked == [f"sigs.k8s.io/gateway-api@{version}"]
    with pytest.raises(NodeError, match="does not require"):
        peers.module_sources("traefik", "example.com/none")


@pytest.mark.parametrize("name", sorted(peers.PEERS))
def test_every_peer_has_a_locked_module_with_its_program_or_that_names_it_as_a_tool(
    name: str,
) -> None:
    folder = sources() / "peers" / name
    package, modfile = peers.PEERS[name].package, (folder / "go.mod").read_text()
    is_tool = re.search(rf"^(?:tool)?\s+{re.escape(package)}$", modfile, re.MULTILINE)
    assert is_tool or (package == "." and (folder / "main.go").is_file())
    assert (folder / "go.sum").is_file()


def test_what_belongs_to_it_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_nothing(monkeypatch)
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    operator = peers.build("prometheus-operator", layout, tmp_path / "log")
    found = {program.name for program in operator.parent.iterdir()}
    assert found == {"prometheus-operator", "prometheus-config-reloader"}


def test_two_who_want_it_at_the_same_time_have_it_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, built = threading.Barrier(2), []

    def compile_it(source: Path, output: Path, *_: object) -> None:
        built.append(source.name)
        output.touch()

    def want(_: int) -> Path:
        both.wait(10)
        return peers.build("prometheus", layout, tmp_path / "log")

    monkeypatch.setattr(peers, "go_build", compile_it)
    monkeypatch.setattr(peers, "go_version", lambda: "go1.26.1")
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(want, range(2))
    assert first == second
    assert built == ["prometheus"]
