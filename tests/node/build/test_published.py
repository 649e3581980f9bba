"""Programs are downloaded where they are published and pinned, and nothing else ever is."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kotatsu_node.build import binaries, prepare, published
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.build.published import File, Published
from kotatsu_node.layout import Layout, sources
from kotatsu_node.progress import Progress

PROGRAM = b"#!/bin/sh\necho v1\n"


class Projects(ThreadingHTTPServer):
    """The hosts of all projects in one: a server on loopback with the files of a folder."""

    def __init__(self, folder: Path) -> None:
        asked: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, *_: object) -> None:
                if self.command == "GET":
                    asked.append(self.path)

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=folder))
        self.folder, self.asked = folder, asked
        self.address = f"http://127.0.0.1:{self.server_port}"

    def publish(self, name: str, content: bytes, *programs: str) -> File:
        """A file as it is pinned."""
        (self.folder / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return File(f"{self.address}/{name}", sha256, programs or (name,))


@pytest.fixture
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projects]:
    with Projects(tmp_path_factory.mktemp("projects")) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"release-1/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def pinned(projects: Projects) -> Published:
    """A program by itself, and two of an archive that holds more."""
    packed = archive(containerd=PROGRAM, ctr=b"ctr", README=b"read")
    return Published(
        "v1.37.1",
        (
            projects.publish("kubelet", b"kubelet"),
            projects.publish("containerd-1.tar.gz", packed, "containerd", "ctr"),
        ),
    )


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pinned: Published) -> Layout:
    """A machine with Go and nothing built, on which a build leaves an empty directory."""
    monkeypatch.setattr(
        published, "of", lambda release: pinned if release.minor != "1.34" else None
    )
    monkeypatch.setattr(prepare.preflight, "go_version", lambda: "go1.26.8")
    monkeypatch.setattr(Binaries, "_build_kube", lambda made, log: made.kube.mkdir(parents=True))
    return Layout(tmp_path / "state", tmp_path / "cache")


def kubernetes(layout: Layout) -> tuple[str, str]:
    """Get it: whether it is "published" or "compiled", and what was said."""
    out = io.StringIO()
    made = prepare.programs(layout, Progress(out, live=False), "kubernetes")
    assert made.kube.is_dir()
    return "published" if "published" in made.kube.name else "compiled", out.getvalue()


def test_what_is_published_is_downloaded_and_can_be_run(layout: Layout) -> None:
    assert kubernetes(layout) == ("published", "")
    made = prepare.locate(layout).kube
    assert {file.name: file.read_bytes() for file in made.iterdir()} == {
        "kubelet": b"kubelet",
        "containerd": PROGRAM,
        "ctr": b"ctr",
    }
    assert all(file.stat().st_mode & 0o777 == 0o755 for file in made.iterdir())
    assert binaries.release_of(made) == "1.37"


def test_a_release_that_is_not_pinned_is_compiled(layout: Layout, projects: Projects) -> None:
    assert kubernetes(replace(layout, kubernetes="1.34")) == ("compiled", "")
    assert projects.asked == []


def test_a_file_with_another_checksum_is_not_used(layout: Layout, projects: Projects) -> None:
    (projects.folder / "kubelet").write_bytes(b"another")
    how, said = kubernetes(layout)
    assert how == "compiled"
    assert f"{projects.address}/kubelet is not the file that is pinned: its SHA-256 differs" in said
    assert [file.name for file in layout.binaries.iterdir()] == [prepare.locate(layout).kube.name]


def test_a_program_that_does_not_run_here_is_not_used(
    layout: Layout, pinned: Published, projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = archive(containerd=b"#!/bin/sh\necho no GLIBC_2.99\nexit 1\n", ctr=b"ctr")
    other = projects.publish("containerd-2.tar.gz", packed, "containerd", "ctr")
    unfit = replace(pinned, files=(pinned.files[0], other))
    monkeypatch.setattr(published, "of", lambda release: unfit)
    assert kubernetes(layout)[0] == "compiled"


def test_a_host_that_cannot_be_reached_costs_nothing(
    layout: Layout, pinned: Published, projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = File("http://127.0.0.1:1/etcd", "0" * 64, ("etcd",))
    partly = replace(pinned, files=(*pinned.files, nobody))
    monkeypatch.setattr(published, "of", lambda release: partly)
    how, said = kubernetes(layout)
    assert how == "compiled"
    assert said == (
        "· Kubernetes 1.37 is not downloaded: 127.0.0.1:1 cannot be reached: "
        "[Errno 111] Connection refused\n"
    )
    assert projects.asked == []


def test_everything_that_a_build_makes_is_pinned_with_https_and_a_checksum() -> None:
    text = (sources() / "kube" / "go.mod").read_text()
    tools = text[text.index("\ntool (") :].split(")")[0].split()[2:]
    made = {*binaries.PARTS, *(tool.rpartition("/")[2] for tool in tools)}
    for found in published._AMD64.values():
        assert {name for file in found.files for name in file.programs} == made
        for file in found.files:
            assert file.address.startswith("https://")
            assert len(file.sha256) == 64
        assert binaries.release_of(found.directory(Path("/cache"))) in published._AMD64
