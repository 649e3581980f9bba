"""The Go programs: built once, kept in the cache under a key of what they are made from."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.build.releases import Release
from kotatsu_node.layout import sources

PARTS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "etcd",
    "coredns",
)
STRIP = "-s -w"
# Nobody debugs these programs: without DWARF a third less is compiled.
_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")
# containerd's snapshotters for file systems that a node has no use for.
_TAGS = "no_devmapper,no_zfs"
_STATIC = {"CGO_ENABLED": "0", "GOWORK": "off"}
_HINT = "check that the Go module proxy is reachable (`go env GOPROXY`) and run the same again"
_GIB = 2**30


@dataclass(frozen=True)
class Binaries:
    """Directories of finished binaries in the cache."""

    release: Release
    kube: Path
    pause: Path

    @classmethod
    def locate(cls, cache: Path, go_version: str, release: Release) -> Binaries:
        """Where the binaries for these sources and this Go are, or will be."""
        root = sources()
        kube = [release.modfile, root / "kube" / "go.mod"]
        kube = [file for mod in dict.fromkeys(kube) for file in (mod, mod.with_suffix(".sum"))]
        pause = [root / "pause" / name for name in ("go.mod", "main.go")]
        made_from = key(
            [root / "kube" / "main.go", *kube], go_version, stamps(release), _TAGS, *_FLAGS
        )
        return cls(
            release,
            kube=cache / f"kubernetes-{release.version}-{made_from}",
            pause=cache / f"pause-{key(pause, go_version)}",
        )

    def missing(self) -> dict[str, Callable[[Path], None]]:
        """The builds still to do, by name; each takes the log's path."""
        builds = {
            "kubernetes": (self.kube, self._build_kube),
            "pause": (self.pause, self._build_pause),
        }
        return {name: build for name, (made, build) in builds.items() if not made.is_dir()}

    def _build_kube(self, log: Path) -> None:
        """Kubernetes, and what the module names as its tools: containerd, CNI plugins, helm."""
        source = sources() / "kube"
        modfile = ("-modfile", self.release.modfile.name)
        is_default = self.release.modfile.name == "go.mod"
        fetch_and_build_std(source, log, *modfile)
        with publish(self.kube) as work:
            output, flags = f"{work.path}/", ("-ldflags", f"{STRIP} {stamps(self.release)}")
            what = [".", "tool"] if is_default else ["."]
            go_build(source, output, log, *modfile, "-tags", _TAGS, *flags, *what)
            if not is_default:
                # The tools are the newest release's, whichever Kubernetes they run.
                tools_log = log.with_suffix(".tools.log")
                go_build(source, output, tools_log, "-tags", _TAGS, *flags, "tool")
            for part in PARTS:
                (work.path / part).symlink_to("kube")

    def _build_pause(self, log: Path) -> None:
        with publish(self.pause) as work:
            go_build(sources() / "pause", work.path / "pause", log, "-ldflags", STRIP, ".")


def release_of(programs: Path) -> str:
    """The release in a directory of programs, such as 1.37; empty when its name does not say."""
    found = re.match(r"kubernetes-v(\d+\.\d+)\.", programs.name)
    return found[1] if found else ""


def stamps(release: Release) -> str:
    """Linker flags that give the programs their version.

    Without them the parts of Kubernetes call themselves v0.0.0, which some controllers refuse, and
    helm takes every cluster that it does not ask for a v1.20.
    """
    kubernetes, helm = "k8s.io/component-base/version", "helm.sh/helm/v3/pkg/chartutil"
    major, minor = release.minor.split(".")
    return (
        f"-X {kubernetes}.gitVersion={release.version}"
        f" -X {kubernetes}.gitMajor={major} -X {kubernetes}.gitMinor={minor}"
        f" -X {helm}.k8sVersionMajor={major} -X {helm}.k8sVersionMinor={minor}"
    )


def key(files: Iterable[Path], *words: str) -> str:
    """A short digest of files and words, to name a cache entry with."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\0")
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class publish:  # noqa: N801 - reads as a verb where it is used
    """Make a directory under another name and rename it when whole: never half a binary."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> publish:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=".making-", dir=self._target.parent))
        self.path.chmod(0o755)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.path.rename(self._target)
        except OSError:
            # Another process may have been quicker; what it made is as good.
            if not self._target.is_dir():
                raise
        finally:
            shutil.rmtree(self.path, ignore_errors=True)


def go_build(source: Path, output: Path | str, log: Path, *arguments: str) -> None:
    """Build packages of the module in `source`, statically; `arguments` are flags and packages."""
    _go(source, log, "build", *_FLAGS, "-o", str(output), *arguments)


def fetch_and_build_std(source: Path, log: Path, *flags: str) -> None:
    """Download the modules that the packages need, and meanwhile compile the standard library.

    `go build` compiles nothing before every module is there, and the standard library needs none.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        downloads = log.with_suffix(".modules.log")
        jobs = [
            pool.submit(_go, source, downloads, "list", "-deps", *flags, ".", "tool"),
            pool.submit(_go, source, log.with_suffix(".std.log"), "build", *_FLAGS, "std"),
        ]
    for job in jobs:
        job.result()


def _go(source: Path, log: Path, *arguments: str) -> None:
    # A user's -mod=vendor or -tags must not reach a build of ours; -buildvcs would look for git.
    env = {**_STATIC, "GOFLAGS": "-mod=readonly -buildvcs=false", **memory(available())}
    shell.call_logged(["go", *arguments], log, env=env, cwd=source, hint=_HINT)


def memory(free: int) -> dict[str, str]:
    """Settings for the compiler on a machine with so many bytes free.

    It ends before its garbage is worth collecting, where there is the memory: the linker takes
    more than 3 GB then, and there is a compiler for each CPU.
    """
    share = free // ((os.cpu_count() or 1) + 1)
    limit = max(share, min(3 * _GIB, free // 2))
    return {"GOGC": "off", "GOMEMLIMIT": f"{limit // 2**20}MiB"}


def available(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of memory that new programs can have on this machine; 2 GiB where it does not say."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return 2 * _GIB


def link(directory: Path, targets: Iterable[Path]) -> None:
    """Make `directory` hold exactly one symlink per target, by the target's name."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for target in targets:
        (directory / target.name).symlink_to(os.fspath(target))
