"""buildah with a storage of our own: the machine's images and settings stay untouched."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError

_CONTAINERS_CONF = """\
[containers]
default_ulimits = [{ulimits}]

[network]
network_backend = "netavark"
"""
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


class Buildah:
    """Runs buildah on the storage below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Mount counters live here and must not outlive a boot, so not below the cache.
        name = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        self.runroot = Path("/run/kotatsu-buildah") / name
        self._driver = ""

    @property
    def environment(self) -> dict[str, str]:
        """What points buildah at our own configuration."""
        return {
            "CONTAINERS_CONF": str(self.root / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.root / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.root / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",
        }

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """The full command line for a buildah subcommand."""
        storage = ("--root", self.root / "storage", "--runroot", self.runroot)
        return ["buildah", *storage, "--storage-driver", self.driver(), *arguments]

    def call(self, *arguments: str | Path, check: bool = True, timeout: float = 600) -> str:
        """Run a subcommand and return what it printed."""
        command = self.command(*arguments)
        return shell.call(
            command, check=check, timeout=timeout, env=self.environment
        ).stdout.strip()

    @contextmanager
    def building(self) -> Iterator[None]:
        """Keep `clear` of other processes away while containers of a build exist."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.clear()
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def clear(self) -> None:
        """Remove the containers of interrupted builds, with their mounts, unless a build runs."""
        if not self.root.exists() or shutil.which("buildah") is None:
            return  # nothing was built here
        with self._lock.open("w") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.call("rm", "--all", check=False)

    def policy_flag(self) -> tuple[str, Path]:
        """The flag for subcommands that check signatures (there are none to check)."""
        return ("--signature-policy", self.root / "policy.json")

    def driver(self) -> str:
        """`overlay` where the file system can do it, else `vfs` (slower, takes more space)."""
        if not self._driver:
            chosen = self.root / "driver"
            if not chosen.exists():
                self._configure("overlay")
                chosen.write_text("overlay" if self._can("overlay") else "vfs")
            self._driver = chosen.read_text()
            # Each time: the limits are those of this very session.
            self._configure(self._driver)
        return self._driver

    def image_id(self, name: str) -> str:
        """The id of an image in the storage; empty when there is none of that name."""
        found = self.call(
            *("inspect", "--type", "image", "--format", "{{.FromImageID}}", name), check=False
        )
        return found.strip()

    def label(self, name: str, label: str) -> str:
        """A label of an image; empty when the image or the label is missing."""
        return self.labels(name).get(label, "")

    def labels(self, name: str) -> dict[str, str]:
        """The labels of an image; none when the image is missing."""
        text = self.call("inspect", "--type", "image", name, check=False)
        try:
            labels = json.loads(text)["OCIv1"]["config"].get("Labels") or {}
        except (ValueError, KeyError):
            return {}
        return {key: str(value) for key, value in labels.items()}

    def digest(self, name: str) -> str:
        """The digest of an image's manifest in the storage (sha256:…). Raises NodeError."""
        return self.call("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", name)

    @property
    def _lock(self) -> Path:
        return self.root / "building.lock"

    def _can(self, driver: str) -> bool:
        storage = ("--root", self.root / "storage", "--runroot", self.runroot)
        command: list[str | Path] = ["buildah", *storage, "--storage-driver", driver, "images"]
        try:
            shell.call(command, env=self.environment)
        except NodeError:
            return False
        return True

    def _configure(self, driver: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        limits = "".join(f'"{limit}", ' for limit in ulimits())
        for name, text in (
            ("policy.json", json.dumps(_POLICY)),
            ("registries.conf", "unqualified-search-registries = []\n"),
            ("storage.conf", f'[storage]\ndriver = "{driver}"\n'),
            ("containers.conf", _CONTAINERS_CONF.format(ulimits=limits)),
        ):
            # Renamed into place: another build may be reading it.
            draft = self.root / f".{name}.{os.getpid()}"
            draft.write_text(text)
            draft.rename(self.root / name)


def ulimits() -> list[str]:
    """Limits for RUN steps: what this process has, since raising one fails in a sandbox."""
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    limits = {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "nproc": resource.getrlimit(resource.RLIMIT_NPROC),
    }
    # buildah lowers its own process limit to pid_max before it reads these.
    limits["nproc"] = tuple(  # type: ignore[assignment]
        pid_max if limit == resource.RLIM_INFINITY else min(limit, pid_max)
        for limit in limits["nproc"]
    )
    return [f"{name}={soft}:{hard}" for name, (soft, hard) in limits.items()]
