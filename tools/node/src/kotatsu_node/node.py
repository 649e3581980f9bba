"""The node as an object: what the command line offers, for tests and other tools."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kotatsu_node import status
from kotatsu_node.build import binaries, from_dockerfile, preflight, prepare
from kotatsu_node.build.buildah import Buildah
from kotatsu_node.cluster import images, lifecycle, remains, second, volumes
from kotatsu_node.cluster.api import Api
from kotatsu_node.components import certs, cgroups, commands, configuration, containers
from kotatsu_node.components.commands import Setting
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import BASE_IMAGE, KUBERNETES, NODE_NAME, PAUSE_IMAGE, Layout
from kotatsu_node.network import netns
from kotatsu_node.progress import BUILD_OF_AN_IMAGE, Progress, Times
from kotatsu_node.status import Status


class Node:
    """The one throwaway node of this machine. Every failure is a NodeError."""

    def __init__(self, layout: Layout, progress: Progress | None = None) -> None:
        self.layout = layout
        self.progress = progress or Progress(times=Times(layout.times))
        self.buildah = Buildah(layout.buildah)

    @classmethod
    def open(cls, state_dir: str | None = None, progress: Progress | None = None) -> Node:
        """The node of a state directory (by default the machine's usual one)."""
        return cls(Layout.from_environment(state_dir=state_dir), progress)

    def prepare(self, *, compiled: bool = False) -> None:
        """Get the programs that a node is made from, without starting any.

        With `compiled` they are built from the sources here, where others could be downloaded.
        """
        prepare.programs(self.layout, self.progress, compiled=compiled)

    def prepare_peers(self) -> None:
        """Build the programs of other projects that tests run beside Kotatsu."""
        prepare.other_programs(self.layout, self.progress)

    def prepare_base(self) -> None:
        """Make the image that others are built from, unless the storage has it."""
        preflight.require_root_on_linux()
        prepare.packages(self.layout, self.progress)
        prepare.base(self.layout, self.buildah, self.progress)

    def up(
        self, *, proxy_mode: str | None = None, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Make the node run, whatever state it is in; quick when it does already.

        `proxy_mode` is one of configuration.PROXY_MODES; without one it stays as it is.
        `meanwhile` is called unless the node runs: it may build images, while programs are built.
        """
        preflight.require_root_on_linux()
        with self._locked():
            found = self.status()
            # While anything runs, the cluster's data is worth keeping; once nothing does, its
            # pods are gone as well, and a new start is quicker and surer than a repair.
            is_repair = netns.exists() and any(found.components.values())
            layout = self._of_running_release() if is_repair else self.layout
            if found.is_healthy:
                volumes.recycle(Api(self.layout.pki), self.layout.volumes)
                self._change_proxy_mode(proxy_mode)
                self.progress.say("the node is already up and healthy")
                return
            self._refuse_foreign_namespace()
            made = prepare.everything(layout, self.buildah, self.progress, meanwhile)
            if is_repair:
                self.progress.say("the node is half up; starting what is missing")
            else:
                self._begin_from_nothing(found)
            mode = proxy_mode or (
                configuration.proxy_mode(self.layout) if is_repair else "iptables"
            )
            configuration.write(self.layout, made.kube, mode)
            links = [made.kube / name for name in ("kubectl", "helm", "ctr")]
            binaries.link(self.layout.bin, links)
            self._start_everything(made.kube, is_repair=is_repair)

    def down(self, *, purge: bool = False) -> None:
        """End the node and take away all it left; `purge` also deletes what is cached."""
        preflight.require_root_on_linux()
        with self._locked():
            self._refuse_foreign_namespace()
            if self.status().is_absent:
                self.progress.say("the node is not up")
            else:
                with self.progress.step("stop the node"):
                    self._stop_everything()
            remains.clean(self.layout)
            self.buildah.clear()
            if left := remains.find(self.layout):
                raise NodeError(f"this is left of the node: {', '.join(left)}")
            if purge:
                with self.progress.step("delete binaries, images and keys"):
                    prepare.forget(self.layout, self.buildah)

    def second_up(self, *, proxy_mode: str | None = None) -> None:
        """Add the second node, which has a kube-proxy and no kubelet; or change its mode."""
        preflight.require_root_on_linux()
        with self._locked(), self.progress.step("add a second node"):
            second.up(self.layout, self._kube(), proxy_mode or configuration.PROXY_MODES[0])

    def second_down(self) -> None:
        """Remove the second node; no error when there is none."""
        preflight.require_root_on_linux()
        with self._locked():
            second.down(self.layout)

    def status(self) -> Status:
        """Look at every component and ask the API server, the node and the DNS."""
        return status.look(self.layout)

    def start(self, component: str) -> None:
        """Start one component again (with no wait for it to be of use)."""
        self._known(component)
        if component == "kubelet" and "containerd" in lifecycle.alive(self.layout):
            # It ends when it finds a container runtime that is only just beginning.
            lifecycle.wait_for_containerd(self.layout)
        lifecycle.start(self.layout, self._kube(), component)

    def stop(self, component: str) -> None:
        """End one component with TERM; the others and the pods run on."""
        self._known(component)
        lifecycle.stop(self.layout, [component])

    def kill(self, component: str) -> None:
        """End one component with KILL."""
        self._known(component)
        if component in (running := lifecycle.alive(self.layout)):
            running[component].signal(signal.SIGKILL)
        lifecycle.stop(self.layout, [component])

    def build(
        self,
        tag: str,
        dockerfile: Path,
        context: Path | None = None,
        build_args: Sequence[str] = (),
        *,
        load: bool = True,
    ) -> None:
        """Build an image, and load it when the node is up. `build_args` are KEY=VALUE."""
        self.prepare_base()
        where = context if context is not None else dockerfile.parent
        log = self.layout.logs / f"image-{tag.replace('/', '_').replace(':', '_')}.log"
        with self.progress.step(f"build image {tag}", BUILD_OF_AN_IMAGE):
            from_dockerfile.build(self.buildah, tag, dockerfile, where, build_args, log)
        if load and "containerd" in lifecycle.alive(self.layout):
            self.load(tag)

    def load(self, image: str) -> None:
        """Put a built image, or an image archive, into the running node."""
        preflight.require_root_on_linux()
        if "containerd" not in lifecycle.alive(self.layout):
            raise NodeError("the node is not up", hint="start it with `kotatsu-node up`")
        with self.progress.step(f"load image {image}"):
            loaded = images.load(self.layout, self.buildah, image)
        if not loaded:
            self.progress.say(f"image {image} is loaded already")

    def environment(self) -> dict[str, str]:
        """KUBECONFIG and PATH for kubectl and helm."""
        old = os.environ.get("PATH", os.defpath)
        first = str(self.layout.bin)
        path = old if first in old.split(os.pathsep) else f"{first}{os.pathsep}{old}"
        return {"KUBECONFIG": str(self.layout.kubeconfig), "PATH": path}

    def _begin_from_nothing(self, found: Status) -> None:
        if not found.is_absent:
            with self.progress.step("clean up what an earlier node left"):
                lifecycle.stop(self.layout, [second.PROXY, *reversed(commands.ORDER)])
                remains.clean(self.layout)
        else:
            remains.clean(self.layout)
        certs.ensure(self.layout.pki)
        netns.create()

    def _of_running_release(self) -> Layout:
        """The layout, with the release that runs; NodeError when another one was asked for."""
        link = self.layout.bin / "kubectl"
        runs = binaries.release_of(link.readlink().parent) if link.is_symlink() else ""
        if self.layout.kubernetes not in ("", runs):
            raise NodeError(
                f"the node that is up does not run Kubernetes {self.layout.kubernetes}, which"
                f" {KUBERNETES} asks for" + (f", but {runs}" if runs else ""),
                hint="run `kotatsu-node down` first; the cluster's data is gone then",
            )
        return replace(self.layout, kubernetes=runs)

    def _change_proxy_mode(self, mode: str | None) -> None:
        if mode is None or mode == configuration.proxy_mode(self.layout):
            return
        with self.progress.step(f"start kube-proxy in {mode} mode"):
            self.stop("kube-proxy")
            setting = Setting(self.layout, self._kube())
            configuration.write_proxy(setting, "kube-proxy", NODE_NAME, mode)
            self.start("kube-proxy")
            lifecycle.wait_proxy(self.layout, "kube-proxy", mode)

    def _start_everything(self, kube: Path, *, is_repair: bool) -> None:
        layout = self.layout
        for log in layout.logs.glob("*.log"):
            if log.stem in commands.ORDER and log.stem not in lifecycle.alive(layout):
                log.replace(log.with_suffix(".log.old"))
        cgroups.create()
        with self.progress.step("start etcd, containerd and the API server"):
            lifecycle.start(layout, kube, "etcd")
            lifecycle.start(layout, kube, "kube-apiserver")
            lifecycle.start_containerd(layout, kube, keep_containers=is_repair)
            for image in (PAUSE_IMAGE, BASE_IMAGE):
                images.load(layout, self.buildah, image)
            lifecycle.start_control_plane(layout, kube)
        with self.progress.step("wait for a Ready node"):
            lifecycle.start(layout, kube, "kubelet")
            lifecycle.install(layout, kube)
            lifecycle.wait_ready(layout)
        with self.progress.step("wait for the cluster's DNS"):
            lifecycle.wait_dns(layout, kube)

    def _stop_everything(self) -> None:
        # The kubelet first, or it would start again what is ended.
        lifecycle.stop(self.layout, ["kubelet", second.PROXY])
        containers.kill(self.layout)
        if "containerd" in lifecycle.alive(self.layout):
            containers.forget(self.layout)
        # The API server before etcd: it takes its address out of Service `kubernetes` last.
        for names in (commands.ORDER[2:], commands.ORDER[:2]):
            lifecycle.stop(self.layout, names)

    def _refuse_foreign_namespace(self) -> None:
        others = netns.processes_in()
        if others and not self.layout.processes.exists():
            raise NodeError(
                f"the network namespace {netns.PATH.name} is in use (by process {others[0]}),"
                " and not by a node of this state directory",
                hint="run `kotatsu-node down` with the --state-dir of the node that is up",
            )

    def _kube(self) -> Path:
        # What `up` linked, not what it would build now: the sources may have changed since.
        link = self.layout.bin / "kubectl"
        if not link.is_symlink():
            raise NodeError("the node is not up", hint="start it with `kotatsu-node up`")
        return link.readlink().parent

    @staticmethod
    def _known(component: str) -> None:
        if component not in commands.ORDER:
            raise NodeError(
                f"there is no component {component}", hint=f"one of {', '.join(commands.ORDER)}"
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.layout.state.mkdir(parents=True, exist_ok=True)
        with self.layout.lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self.progress.step("wait for another kotatsu-node to finish"):
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield
