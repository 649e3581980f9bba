"""The systems that `peers` races, from peers.yaml: how each is installed and asked, and removed."""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import yaml

from cluster import (
    App,
    Kubectl,
    NoClusterError,
    Object,
    eventually,
    namespace,
    platform,
    service_ip,
)
from coldstart import SETTLE, Starts, processes_of, small_app
from http1 import Address
from kotatsu_demo.choice import NODE_CONTEXT
from kotatsu_node import Node
from kotatsu_node.build import peers
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.shell import call
from kotatsu_operator.core.formats import conditions_of, is_true
from simulation.measure import MIB, resident_mib

OURS = "Kotatsu"
APPS = tuple(f"app-{n}" for n in range(4))
PLAIN = "plain"
"""A Deployment of the same pods that no system knows: what Kubernetes alone needs."""
PRE_STOP = 6
"""Seconds that a pod of an app goes on answering once it is to end: what Kotatsu asks for."""
SOON = 10.0
"""An app that sleeps within so many seconds is not told to."""
KEDA, PROXY = "keda", ("keda-add-ons-http-interceptor-proxy", 8080)
MANIFESTS = (
    (KEDA, "github.com/kedacore/keda/v2", "config/minimal"),
    ("keda-http-add-on", "github.com/kedacore/http-add-on", "config/default"),
)
PROGRAMS = {
    KEDA: {KEDA: KEDA, "adapter": "keda-adapter"},
    "keda-http-add-on": {
        "keda-http-add-on": "interceptor",
        "operator": "operator",
        "scaler": "scaler",
    },
}
"""The programs of each peer as they are built, and as its manifests name them."""
FAILURES = (NodeError, AssertionError, RuntimeError, OSError, subprocess.SubprocessError)
"""What a system that cannot be installed or measured ends with; TimeoutError is an OSError."""
IMAGE = "localhost/bench-keda:built"
DOCKERFILE = "FROM scratch\nCOPY . /\nUSER 65532\n"


@dataclass(frozen=True)
class Configuration:
    """One way to set a system up."""

    idle: float
    """Seconds without a request after which an app sleeps."""
    objects: str
    """What the system needs for an app beside its Deployment and Service."""
    told: bool = False
    """Whether its apps are told to sleep between the starts, although they sleep soon."""
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Variables added to Deployments of the system, by their names."""

    def of(self, app: str) -> list[Object]:
        """The objects for an app."""
        return list(yaml.safe_load_all(Template(self.objects).substitute(app=app)))


@dataclass(frozen=True)
class System:
    """One that is raced, or that says why it is not."""

    name: str
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the pods of each part that gets killed."""
    configurations: Mapping[str, Configuration] = field(default_factory=dict)
    missing: str = ""
    once: str = ""
    """What one run elsewhere has shown, of one that is missing here."""


def read(text: str) -> list[System]:
    """Read peers.yaml. Raises TypeError for a field that there is not."""
    found = []
    for item in yaml.safe_load(text):
        given = item.pop("configurations", {})
        configurations = {name: Configuration(**fields) for name, fields in given.items()}
        found.append(System(**item, configurations=configurations))
    return found


@dataclass(frozen=True)
class Installed:
    """A system that runs, with apps that sleep."""

    system: System
    configuration: Configuration
    starts: Starts
    home: Kubectl
    """Of the namespace with its own pods."""
    addresses: Mapping[str, Address]
    """Where requests to each app go; they name it as their host."""

    @property
    def kubectl(self) -> Kubectl:
        """Of the namespace with the apps."""
        return self.starts.kubectl

    async def known(self) -> None:
        """Wait until the system has taken on all apps."""
        if self.system.name == OURS:
            for app in APPS:
                phase = App(app, self.kubectl).phase
                await eventually(f"{app} asleep", lambda phase=phase: phase() == "Asleep")  # type: ignore[misc]
        else:
            ready = ("--for=condition=Ready", "scaledobject", "--all", "--timeout=120s")
            self.kubectl("wait", *ready, check=False)  # where it never is, the race shows it

    async def asleep(self, *apps: str) -> None:
        """Wait until apps sleep: by themselves where that is soon, otherwise by being told to."""
        is_told = self.configuration.idle > SOON or self.configuration.told
        if is_told and self.system.name == OURS:
            await self.starts.to_sleep(*apps)
        for app in apps:
            if is_told and self.system.name != OURS:
                await asyncio.sleep(SETTLE)  # until it knows that no request is left
                await self.starts.down(app, app)
            await self.starts.gone(app)
        await asyncio.sleep(SETTLE)

    def pods(self, part: str = "") -> list[Object]:
        """The system's own pods, or those of one part."""
        return self.home.items("pods", **self.system.parts[part] if part else {})

    def memory(self) -> float:
        """MB of all its processes; no app may be awake."""
        uids = [pod["metadata"]["uid"] for pod in self.pods()]
        return sum(resident_mib(pid) * MIB for uid in uids for pid in _programs(uid))

    def kill(self, part: str) -> None:
        """Kill all processes of a part at once."""
        for pod in self.pods(part):
            for pid in _programs(pod["metadata"]["uid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def recovered(self, part: str) -> None:
        """Wait until all pods of a part are Ready again."""
        await asyncio.sleep(SETTLE)  # until the kubelet has seen that they were not
        await eventually(f"{part} is Ready", lambda: all(map(_is_ready, self.pods(part))), 300, 1)


def _programs(uid: str) -> list[int]:
    return [pid for pid, name in processes_of(uid) if name != "/pause"]


def _is_ready(pod: Object) -> bool:
    return is_true(conditions_of(pod["status"]).get("Ready"))


@contextlib.asynccontextmanager
async def installed(system: System, configuration: Configuration) -> AsyncIterator[Installed]:
    """A system with its apps for the block. Raises one of FAILURES, or NoClusterError."""
    install = _kotatsu if system.name == OURS else _keda
    with install(configuration) as (kubectl, home):
        kubectl.apply(*small_app(PLAIN))
        for app in APPS:
            deployment, its_service = small_app(app)
            [container] = deployment["spec"]["template"]["spec"]["containers"]
            container["lifecycle"] = {"preStop": {"sleep": {"seconds": PRE_STOP}}}
            kubectl.apply(deployment, its_service)
            # One after the other: KEDA must know a route before what is scaled by it.
            for obj in configuration.of(app):
                kubectl.apply(obj)
        async with Starts.watching(kubectl) as starts:
            if system.name == OURS:
                addresses = {app: (service_ip(kubectl, app), 80) for app in APPS}
            else:
                addresses = dict.fromkeys(APPS, (service_ip(home, PROXY[0]), PROXY[1]))
            it = Installed(system, configuration, starts, home, addresses)
            await it.known()
            await it.asleep(*APPS)
            yield it


@contextlib.contextmanager
def _kotatsu(_: Configuration) -> Iterator[tuple[Kubectl, Kubectl]]:
    """As the chart installs it."""
    with platform("peers") as kubectl:
        yield kubectl, Kubectl(kubectl.namespace)


@contextlib.contextmanager
def _keda(configuration: Configuration) -> Iterator[tuple[Kubectl, Kubectl]]:
    """From the manifests of its modules, with an image of programs that are built from them."""
    with namespace("peers") as kubectl:
        context = call(["kubectl", "config", "current-context"]).stdout.strip()
        if context != NODE_CONTEXT:
            raise NoClusterError("its image is only built for the throwaway node")
        keda_image()
        groups = [objects_of(*manifests, configuration) for manifests in MANIFESTS]
        try:
            for group in groups:
                _apply(group)
            ready = ("--for=condition=Available", "deployment", "--all", f"-n={KEDA}")
            call(["kubectl", "wait", *ready, "--timeout=300s"], timeout=330)
            yield kubectl, Kubectl(KEDA)
        finally:
            # First what KEDA itself must let go of.
            kinds = "scaledobjects,interceptorroutes"
            scaled = ("delete", kinds, "--all", "--all-namespaces", "--timeout=60s")
            call(["kubectl", *scaled], check=False, timeout=90)
            for group in reversed(groups):
                delete = ("delete", "--ignore-not-found", "--timeout=120s", "-f", "-")
                text = yaml.safe_dump_all(group)
                call(["kubectl", *delete], stdin=text, check=False, timeout=150)


@functools.cache
def keda_image() -> None:
    """Build the programs (some minutes, once) and an image of them. Raises NodeError."""
    with tempfile.TemporaryDirectory(prefix="kotatsu-bench-") as folder:
        context = Path(folder) / "image"
        context.mkdir()
        for peer, programs in PROGRAMS.items():
            built = peers.build(peer, Layout.from_environment(), Path(folder) / f"{peer}.log")
            for program, name in programs.items():
                shutil.copy(built.with_name(program), context / name)
        dockerfile = Path(folder) / "Dockerfile"
        dockerfile.write_text(DOCKERFILE)
        Node.open().build(IMAGE, dockerfile, context)


def objects_of(peer: str, module: str, folder: str, configuration: Configuration) -> list[Object]:
    """What a peer's own manifests make, with our image. Raises NodeError."""
    source = peers.module_sources(peer, module) / folder
    text = call(["kubectl", "kustomize", source]).stdout
    found = [obj for obj in yaml.safe_load_all(text) if obj]
    for obj in found:
        if obj["kind"] == "Deployment":
            adapt(obj, configuration.environment.get(obj["metadata"]["name"], {}))
    return found


def adapt(deployment: Object, environment: Mapping[str, str]) -> None:
    """Run a Deployment's one container from our image, with variables added."""
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container |= {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    container.setdefault("command", [f"/{container['name']}"])
    more = [{"name": name, "value": value} for name, value in environment.items()]
    container["env"] = [*container.get("env", ()), *more]


def _apply(objects: list[Object]) -> None:
    """Apply objects: first what others are in or of."""
    first = [obj for obj in objects if obj["kind"] in ("Namespace", "CustomResourceDefinition")]
    rest = [obj for obj in objects if obj not in first]
    apply = ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"]
    call(apply, stdin=yaml.safe_dump_all(first), timeout=120)
    crds = [o["metadata"]["name"] for o in first if o["kind"] == "CustomResourceDefinition"]
    call(["kubectl", "wait", "--for=condition=Established", "crd", *crds, "--timeout=60s"])
    call(apply, stdin=yaml.safe_dump_all(rest), timeout=120)
