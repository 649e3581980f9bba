"""Programs are downloaded where they are published and pinned, and nothing else ever is."""

import contextlib
import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kotatsu_node.build import binaries, prepare, published, releases
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.build.published import File, Published
from kotatsu_node.errors import NodeError, UnsupportedError
from kotatsu_node.layout import Layout, sources
from kotatsu_node.progress import Progress

PROGRAM = b"#!/bin/sh\necho v1\n"


class Projects:
    """A server on loopback with files; `answers` may hold another way to answer for one."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        projects = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._begin()

            def do_GET(self) -> None:
                projects.asked.append(self.path)
                if answer := projects.answers.get(self.path):
                    answer(self)
                elif self._begin():
                    self.wfile.write(projects.files[self.path])

            def _begin(self) -> bool:
                found = self.path in projects.files
                self.send_response(200 if found else 404)
                self.end_headers()
                return found

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, name: str, content: bytes, *programs: str) -> File:
        """A file as it is pinned."""
        self.files[f"/{name}"] = content
        sha256 = hashlib.sha256(content).hexdigest()
        return File(f"{self.address}/{name}", sha256, programs or (name,))


@pytest.fixture
def projects() -> Iterator[Projects]:
    """The hosts of all projects in one."""
    found = Projects()
    yield found
    found.server.shutdown()
    found.server.server_close()


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


def kubernetes(layout: Layout, *, compiled: bool = False) -> tuple[str, str]:
    """Get it: whether it is "published" or "compiled", and what was said."""
    out = io.StringIO()
    made = prepare.programs(layout, Progress(out, live=False), "kubernetes", compiled=compiled)
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


def test_it_is_downloaded_once(layout: Layout, projects: Projects) -> None:
    kubernetes(layout)
    asked = len(projects.asked)
    assert kubernetes(layout) == ("published", "")
    assert len(projects.asked) == asked


def test_without_go_it_is_downloaded_too(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found() -> str:
        raise UnsupportedError("a node needs Go 1.26.8")

    monkeypatch.setattr(prepare.preflight, "go_version", none_found)
    assert kubernetes(layout)[0] == "published"
    with pytest.raises(UnsupportedError, match=r"needs Go 1\.26\.8"):
        prepare.programs(layout, Progress(io.StringIO(), live=False))  # pause, which is built
    with pytest.raises(UnsupportedError, match=r"needs Go 1\.26\.8"):
        prepare.locate(replace(layout, kubernetes="1.34"))


def test_who_has_compiled_it_goes_on_with_that(layout: Layout) -> None:
    assert kubernetes(layout, compiled=True)[0] == "compiled"
    assert kubernetes(layout) == ("compiled", "")


def test_it_is_compiled_in_place_of_a_download_where_that_is_asked_for(layout: Layout) -> None:
    kubernetes(layout)
    assert kubernetes(layout, compiled=True)[0] == "compiled"


def test_a_release_that_is_not_pinned_is_compiled(layout: Layout, projects: Projects) -> None:
    assert kubernetes(replace(layout, kubernetes="1.34")) == ("compiled", "")
    assert projects.asked == []


def test_a_file_with_another_checksum_is_not_used(layout: Layout, projects: Projects) -> None:
    projects.files["/kubelet"] = b"another"
    how, said = kubernetes(layout)
    assert how == "compiled"
    assert f"{projects.address}/kubelet is not the file that is pinned: its SHA-256 differs" in said
    assert [file.name for file in layout.binaries.iterdir()] == [prepare.locate(layout).kube.name]


def test_a_part_of_them_is_not_enough(layout: Layout, projects: Projects) -> None:
    projects.answers["/containerd-1.tar.gz"] = lambda answer: answer.send_error(404)
    how, said = kubernetes(layout)
    assert how == "compiled"
    assert "Kubernetes 1.37 is not downloaded: " in said
    assert "containerd-1.tar.gz cannot be had: Not Found" in said


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


def test_a_host_whose_name_is_looked_up_for_long_is_not_waited_for(
    pinned: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()

    def look_up(*_: object) -> None:
        found.wait(30)
        raise OSError("no such host")

    monkeypatch.setattr(published, "_open", look_up)
    with pytest.raises(NodeError, match=r"^127\.0\.0\.1:\d+ does not answer within 0 s$"):
        published.require_reachable(pinned, seconds=0.05)
    found.set()


def test_a_download_that_stalls_is_given_up(
    layout: Layout, projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def stall(answer: BaseHTTPRequestHandler) -> None:
        answer.send_response(200)
        answer.end_headers()
        answer.wfile.write(b"kube")
        released.wait(30)

    projects.answers["/kubelet"] = stall
    monkeypatch.setattr(published, "_STALL_SECONDS", 0.1)
    how, said = kubernetes(layout)
    released.set()
    assert how == "compiled"
    assert "/kubelet cannot be had: timed out" in said


def test_an_interruption_ends_the_downloads_and_leaves_nothing(
    layout: Layout, projects: Projects, pinned: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted, sent_all = threading.Event(), threading.Event()

    def answer_in_parts(answer: BaseHTTPRequestHandler) -> None:
        answer.send_response(200)
        answer.end_headers()
        interrupted.wait(30)
        with contextlib.suppress(OSError):  # who asked is gone
            for _ in range(100_000):
                answer.wfile.write(b"kubelet" * 1000)
            sent_all.set()

    def interrupt(job: Future[None]) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    projects.answers["/kubelet"] = answer_in_parts
    monkeypatch.setattr(Future, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        published.download(pinned, layout.binaries)
    assert not sent_all.is_set()
    assert list(layout.binaries.iterdir()) == []


def test_a_slow_connection_is_given_up_after_some_seconds() -> None:
    now = [0.0]
    watch = published._Watch(lambda: now[0])
    for now[0] in range(16):
        watch.received(1_000_000)
    now[0] = 16
    with pytest.raises(NodeError, match=r"^17 MB in 16 s is slower than to compile$"):
        watch.received(1_000_000)


def test_a_quick_connection_is_not_but_has_an_end() -> None:
    now = [0.0]
    watch = published._Watch(lambda: now[0])
    for now[0] in range(301):
        watch.received(3_000_000)
    now[0] = 301
    with pytest.raises(NodeError, match="in 301 s is slower"):
        watch.received(3_000_000)


def test_when_a_file_fails_the_others_end_and_the_first_reason_is_told() -> None:
    watch = published._Watch(time.monotonic)
    watch.failed(NodeError("the first"))
    watch.failed(NodeError("the second"))
    with pytest.raises(NodeError, match="the first"):
        watch.received(1)


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


def test_other_machines_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published.sys, "platform", "linux")
    monkeypatch.setattr(published.platform, "machine", lambda: "aarch64")
    assert published.of(releases.default()) is None
