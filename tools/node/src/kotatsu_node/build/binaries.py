"""The Go programs: built once, kept in the cache under a key of what they are made from."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.layout import sources

KUBERNETES_VERSION = "v1.34.4"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
# Without these a helm built by `go install` takes every cluster it does not ask for a v1.20.
_HELM_FLAGS = " ".join(
    f"-X helm.sh/helm/v3/pkg/chartutil.k8sVersion{part}={number}"
    for part, number in (("Major", 1), ("Minor", 34))
)
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
_STATIC = {"CGO_ENABLED": "0"}
_HINT = "check that the Go module proxy is reachable (`go env GOPROXY`) and run the same again"


@dataclass(frozen=True)
class Binaries:
    """Directories of finished binaries in the cache."""

    kube: Path
    pause: Path
    helm: Path

    @classmethod
    def locate(cls, cache: Path, go_version: str) -> Binaries:
        """Where the binaries for these sources and this Go are, or will be."""
        root = sources()
        kube = [root / "kube" / name for name in ("go.mod", "go.sum", "main.go")]
        pause = [root / "pause" / name for name in ("go.mod", "main.go")]
        return cls(
            kube=cache / f"kube-{key(kube, go_version, version_stamp())}",
            pause=cache / f"pause-{key(pause, go_version)}",
            helm=cache / f"helm-{key([], go_version, HELM, _HELM_FLAGS)}",
        )

    def missing(self) -> dict[str, Callable[[Path], None]]:
        """The builds still to do, by name; each takes the log's path."""
        builds = {
            "kubernetes": (self.kube, self._build_kube),
            "pause": (self.pause, self._build_pause),
            "helm": (self.helm, self._build_helm),
        }
        return {name: build for name, (made, build) in builds.items() if not made.is_dir()}

    def _build_kube(self, log: Path) -> None:
        with publish(self.kube) as work:
            go_build(sources() / "kube", work.path / "kube", f"{STRIP} {version_stamp()}", log)
            for part in PARTS:
                (work.path / part).symlink_to("kube")

    def _build_pause(self, log: Path) -> None:
        with publish(self.pause) as work:
            go_build(sources() / "pause", work.path / "pause", STRIP, log)

    def _build_helm(self, log: Path) -> None:
        with publish(self.helm) as work:
            command = ["go", "install", "-trimpath", "-ldflags", f"{STRIP} {_HELM_FLAGS}", HELM]
            env = {**_STATIC, "GOBIN": str(work.path), "GOFLAGS": "-buildvcs=false"}
            shell.call_logged(command, log, env=env, hint=_HINT)


def version_stamp() -> str:
    """Linker flags that tell the parts their version.

    Without it they call themselves v0.0.0, which some controllers refuse.
    """
    version = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    return (
        f"-X {version}.gitVersion={KUBERNETES_VERSION}"
        f" -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
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
        if kind is None and not self._target.exists():
            self.path.rename(self._target)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


def _go_flags() -> str:
    # A user's -mod=vendor or -tags must not reach a build of ours; -buildvcs would look for git.
    return "-mod=readonly -buildvcs=false"


def go_build(
    source: Path, output: Path, ldflags: str, log: Path, what: str = ".", *flags: str
) -> None:
    """Build a package (`what`, with more `flags`) of the module in `source`, statically."""
    command: list[str | Path] = ["go", "build", "-trimpath", "-ldflags", ldflags, *flags]
    env = {**_STATIC, "GOFLAGS": _go_flags(), "GOWORK": "off"}
    shell.call_logged([*command, "-o", output, what], log, env=env, cwd=source, hint=_HINT)


def link(directory: Path, targets: Iterable[Path]) -> None:
    """Make `directory` hold exactly one symlink per target, by the target's name."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for target in targets:
        (directory / target.name).symlink_to(os.fspath(target))
