"""The programs of a node as their projects publish them: a download in place of a long compile.

Only files whose checksum stands here are downloaded. A checksum from where the file comes from
proves nothing, so each was read elsewhere: of Kubernetes and of the CNI plugins in kOps
(pkg/assets/assetdata), of the others in at least two projects that pin the same file.
"""

from __future__ import annotations

import hashlib
import platform
import queue
import shutil
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from kotatsu_node import shell
from kotatsu_node.build.binaries import key, publish
from kotatsu_node.build.releases import Release
from kotatsu_node.errors import NodeError

_GITHUB = "https://github.com"
_CONNECT_SECONDS = 3.0
_STALL_SECONDS = 10.0
# A connection is judged after some seconds. One slower than this is no quicker than the compiler.
_JUDGED_AFTER_SECONDS = 15.0
_SLOWEST_BYTES_PER_SECOND = 2_000_000
_LONGEST_SECONDS = 300.0
_AT_ONCE = 3
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A published file, and the programs that are taken from it: all there is, or of an archive."""

    address: str
    sha256: str
    programs: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """All programs of a node, of a version of Kubernetes."""

    version: str
    files: tuple[File, ...]

    def directory(self, cache: Path) -> Path:
        """Where the programs are in the cache, or will be."""
        words = [word for file in self.files for word in (file.sha256, *file.programs)]
        return cache / f"kubernetes-{self.version}-published-{key([], *words)}"


_KUBERNETES_1_37_1 = {
    "kube-apiserver": "de9b1b43c10143f448408b3aaf15f44fd5248b97a56301417a1fe2f1fc47a691",
    "kube-controller-manager": "acd67c8f8871d4594f307d2816bf11aa972f47617ee6e1f84b0ce92a091f7290",
    "kube-scheduler": "8d10dfc64de70b1670cc1ce52701eb6a219c0905a95bdde608edc5432f9eca43",
    "kube-proxy": "3f1dc2394bfe627927c17e8226b1a94c842529217c06436ddfeb73de8407b6e0",
    "kubelet": "cee008c1640c3b41820ef31d35b3cffc132b0c4b78c288be2b8022ebc7aa8293",
    "kubectl": "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
}

_AMD64 = {
    "1.37": Published(
        "v1.37.1",
        (
            *(
                File(f"https://dl.k8s.io/release/v1.37.1/bin/linux/amd64/{name}", sha256, (name,))
                for name, sha256 in _KUBERNETES_1_37_1.items()
            ),
            File(
                f"{_GITHUB}/etcd-io/etcd/releases/download/v3.7.1/etcd-v3.7.1-linux-amd64.tar.gz",
                "e8cd3fa8064c98137c5dbd78b76f969417ace84efb83c481041d7a52ffdd8fb9",
                ("etcd",),
            ),
            File(
                f"{_GITHUB}/coredns/coredns/releases/download/v1.14.4/coredns_1.14.4_linux_amd64.tgz",
                "5b0e6a6a8b97bdcaec65baa70e83ca88ce03ab852355c656e3f7953405cfe36e",
                ("coredns",),
            ),
            File(
                f"{_GITHUB}/containerd/containerd/releases/download/v2.4.1"
                "/containerd-2.4.1-linux-amd64.tar.gz",
                "d65eda6a188aac1006848d8060099be88ba9c4bcddbfd9a23a961194710d0dd4",
                ("containerd", "containerd-shim-runc-v2", "ctr"),
            ),
            File(
                f"{_GITHUB}/containernetworking/plugins/releases/download/v1.9.1"
                "/cni-plugins-linux-amd64-v1.9.1.tgz",
                "b98f74a0f8522f0a83867178729c1aa70f2158f90c45a2ca8fa791db1c76b303",
                ("host-local", "ptp", "portmap"),
            ),
            File(
                "https://get.helm.sh/helm-v3.22.0-linux-amd64.tar.gz",
                "1e4ab49e429626cf6c6958d914248b78c9730803c2751b87627e171dc800e7bb",
                ("helm",),
            ),
        ),
    ),
}


def of(release: Release) -> Published | None:
    """What is published of a release for this machine, and pinned here; None for the others."""
    is_amd64 = (sys.platform, platform.machine()) == ("linux", "x86_64")
    return _AMD64.get(release.minor) if is_amd64 else None


def require_reachable(found: Published, seconds: float = _CONNECT_SECONDS) -> None:
    """Raise NodeError after at most so many seconds unless every host of the files answers."""
    one_of_each = {urlsplit(file.address).netloc: file.address for file in found.files}
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def ask(host: str, address: str) -> None:
        try:
            _open(address, seconds, "HEAD").close()
        except (OSError, HTTPException) as error:
            answers.put((host, _reason(error)))
        else:
            answers.put((host, ""))

    until = time.monotonic() + seconds
    for asked in one_of_each.items():
        # Nobody waits for the threads: looking up a name has no time limit of its own.
        threading.Thread(target=ask, args=asked, daemon=True).start()
    silent = set(one_of_each)
    while silent:
        try:
            host, trouble = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise NodeError(f"{min(silent)} does not answer within {seconds:.0f} s") from None
        if trouble:
            raise NodeError(f"{host} cannot be reached: {trouble}")
        silent.remove(host)


def download(found: Published, cache: Path) -> None:
    """Put all programs into their directory of the cache, or none; see Published.directory.

    Raises NodeError for a file that cannot be had, is not the one pinned, or comes too slowly, and
    for programs that do not run on this machine.
    """
    with publish(found.directory(cache)) as work:
        watch = _Watch(time.monotonic)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            jobs = [pool.submit(_fetch, file, work.path, watch) for file in found.files]
            try:
                for job in jobs:
                    job.result()
            except KeyboardInterrupt:
                watch.failed(NodeError("interrupted"))
                raise
        if watch.error is not None:
            raise watch.error
        # The only one that is linked against the C library of a machine.
        shell.call([work.path / "containerd", "--version"])


class _Watch:
    """Ends all downloads together: when one has failed, or when they take too long."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._began = clock, clock()
        self._bytes = 0
        self._lock = threading.Lock()
        self.error: NodeError | None = None
        """Why the first of them failed."""

    def received(self, count: int) -> None:
        """Note bytes of any file. Raises NodeError when the downloads are to end."""
        with self._lock:
            if self.error is not None:
                raise self.error
            self._bytes += count
            spent = self._clock() - self._began
            is_slow = self._bytes < spent * _SLOWEST_BYTES_PER_SECOND
            if (spent > _JUDGED_AFTER_SECONDS and is_slow) or spent > _LONGEST_SECONDS:
                raise NodeError(
                    f"{self._bytes / 1e6:.0f} MB in {spent:.0f} s is slower than to compile"
                )

    def failed(self, error: NodeError) -> None:
        """Note that a file could not be had: without it, the others are of no use."""
        with self._lock:
            self.error = self.error or error


def _fetch(file: File, work: Path, watch: _Watch) -> None:
    part = work / f".{file.address.rpartition('/')[2]}"
    try:
        watch.received(0)
        found = hashlib.sha256()
        with _open(file.address, _STALL_SECONDS) as answer, part.open("wb") as target:
            while chunk := answer.read1(_CHUNK):
                watch.received(len(chunk))
                found.update(chunk)
                target.write(chunk)
        if found.hexdigest() != file.sha256:
            raise NodeError(f"{file.address} is not the file that is pinned: its SHA-256 differs")
        _unpack(part, file.programs, work)
    except NodeError as error:
        watch.failed(error)
    except (OSError, HTTPException, tarfile.TarError, EOFError) as error:
        watch.failed(NodeError(f"{file.address} cannot be had: {_reason(error)}"))


def _unpack(part: Path, programs: Sequence[str], work: Path) -> None:
    if part.suffix not in (".gz", ".tgz"):
        part.rename(work / programs[0])
    else:
        with tarfile.open(part, "r|gz") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                packed = tar.extractfile(member) if name in programs else None
                if packed is not None:
                    with (work / name).open("wb") as target:
                        shutil.copyfileobj(packed, target)
        part.unlink()
    for name in programs:
        (work / name).chmod(0o755)


def _open(address: str, seconds: float, method: str = "GET") -> HTTPResponse:
    request = urllib.request.Request(address, method=method)  # noqa: S310 - an address of above
    try:
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310
    except HTTPError as error:
        error.close()
        raise
    return answer


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__
