"""A Kubernetes API without a node: etcd, API server and controllers on loopback, for load tests.

Nothing runs pods here; whoever uses it plays the kubelets. It shares nothing with the node but the
binaries: its ports, keys and data are its own, need no root, and go when it ends.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.build import prepare
from kotatsu_node.components import certs, configuration
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.ports import free_ports
from kotatsu_node.progress import Progress

_START_SECONDS = 180.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.1
_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "clusterrole-aggregation-controller",
)
_OF_NODES = ("node-lifecycle-controller",)
_HOST = "127.0.0.1"
ADMINISTRATORS = "system:masters"
"""The group that may do everything."""

_TOKENS, _POLICY, _AUDIT_LOG = "tokens.csv", "audit-policy.json", "audit.log"

Json = dict[str, object]


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane.

    `users` holds a kubeconfig for each of the users asked for, and `audit_log` a line of JSON (an
    audit.k8s.io/v1 Event) for each request of theirs.
    """

    kubectl: Path
    admin: Path
    users: dict[str, Path]
    audit_log: Path
    pids: dict[str, int]


@contextlib.contextmanager
def control_plane(
    layout: Layout,
    users: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    *,
    schedules: bool = False,
    controllers: Sequence[str] = (),
) -> Iterator[ControlPlane]:
    """Run a control plane for as long as the context lasts. Raises NodeError.

    `users` has the group of each user by name; empty for one without any right.
    With `schedules` a pod waits for a node that has room for it; else nothing binds pods to nodes.
    `controllers` run beside those that make pods of Deployments and remove what has no owner.

    Its processes end with the one that started them, however that ends.
    """
    kube = prepare.programs(layout, progress or Progress(), "kubernetes").kube
    state = Path(tempfile.mkdtemp(prefix="kotatsu-control-plane-"))
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        certs.ensure(state / "pki")
        etcd, peer, api = free_ports(3)
        admin = _write(state / "admin.kubeconfig", _kubeconfig(state, "admin", api))
        known = _introduce(state, users or {}, api)
        children["etcd"] = _spawn(state, "etcd", _etcd(kube, state, etcd, peer))
        children["kube-apiserver"] = _spawn(
            state, "kube-apiserver", _apiserver(kube, state, etcd, api)
        )
        kubectl = [str(kube / "kubectl"), f"--kubeconfig={admin}"]
        _wait_ready(state, kubectl, children)
        children["kube-controller-manager"] = _spawn(
            state,
            "kube-controller-manager",
            _controller_manager(
                kube, state, (*_CONTROLLERS, *(_OF_NODES if schedules else ()), *controllers)
            ),
        )
        if schedules:
            children["kube-scheduler"] = _spawn(state, "kube-scheduler", _scheduler(kube, state))
        pids = {name: child.pid for name, child in children.items()}
        yield ControlPlane(kube / "kubectl", admin, known, state / _AUDIT_LOG, pids)
    finally:
        _end(list(children.values()))
        shutil.rmtree(state, ignore_errors=True)


def _kubeconfig(state: Path, client: str, port: int) -> Json:
    return configuration.kubeconfig(state / "pki", client, f"https://{_HOST}:{port}")


def _introduce(state: Path, users: Mapping[str, str], port: int) -> dict[str, Path]:
    """Give each user a token and a kubeconfig with it, and have their requests logged."""
    found, lines = {}, []
    for user, group in users.items():
        token = secrets.token_hex(16)
        lines.append(f"{token},{user},{user},{group}")
        config = _kubeconfig(state, "admin", port)
        config["users"] = [{"name": "admin", "user": {"token": token}}]
        # In KUBECONFIG a colon parts two paths.
        found[user] = _write(state / f"{user.replace(':', '_')}.kubeconfig", config)
    _write(state / _TOKENS, "\n".join([*lines, ""]))
    _write(
        state / _POLICY,
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            # One line a request, when it is done: a watch that goes on is none.
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [
                *([{"level": "Metadata", "users": list(users)}] if users else []),
                {"level": "None"},
            ],
        },
    )
    return found


def _write(file: Path, content: str | Json) -> Path:
    file.touch(mode=0o600)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def _spawn(state: Path, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (state / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            # Ends with this process, also when it is killed.
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=state,
        )


def _wait_ready(
    state: Path, kubectl: list[str], children: dict[str, subprocess.Popen[bytes]]
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while shell.call([*kubectl, "get", "--raw", "/readyz"], check=False).returncode != 0:
        for name, child in children.items():
            if child.poll() is not None:
                raise NodeError(f"{name} ended at once", log=shell.tail(state / f"{name}.log"))
        if time.monotonic() > deadline:
            log = shell.tail(state / "kube-apiserver.log")
            raise NodeError(f"no API server within {_START_SECONDS:.0f} s", log=log)
        time.sleep(_POLL_SECONDS)


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    # The other way round: an API server without etcd would wait for it.
    for child in reversed(children):
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _etcd(kube: Path, state: Path, port: int, peer: int) -> list[str]:
    client, between = f"http://{_HOST}:{port}", f"http://{_HOST}:{peer}"
    return [
        str(kube / "etcd"),
        "--name=kotatsu",
        f"--data-dir={state / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={between}",
        f"--initial-advertise-peer-urls={between}",
        f"--initial-cluster=kotatsu={between}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver(kube: Path, state: Path, etcd: int, port: int) -> list[str]:
    pki = state / "pki"
    return [
        str(kube / "kube-apiserver"),
        f"--etcd-servers=http://{_HOST}:{etcd}",
        f"--bind-address={_HOST}",
        f"--secure-port={port}",
        # Service `kubernetes` would get a loopback endpoint, which is refused; nobody needs it.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--authorization-mode=RBAC",
        # Pods are made without the ServiceAccount that a controller left out here would make.
        "--disable-admission-plugins=ServiceAccount",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--token-auth-file={state / _TOKENS}",
        f"--audit-policy-file={state / _POLICY}",
        f"--audit-log-path={state / _AUDIT_LOG}",
        "--audit-log-maxsize=10000",  # MB; it is one file
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--shutdown-watch-termination-grace-period=1s",
        f"--cert-dir={state / 'apiserver'}",
        "--profiling=false",
    ]


def _controller_manager(
    kube: Path, state: Path, controllers: Sequence[str] = _CONTROLLERS
) -> list[str]:
    return [
        str(kube / "kube-controller-manager"),
        # As an administrator: the accounts of the single controllers are made by one that is left
        # out here.
        f"--kubeconfig={state / 'admin.kubeconfig'}",
        f"--controllers={','.join(controllers)}",
        "--secure-port=0",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]


def _scheduler(kube: Path, state: Path) -> list[str]:
    return [
        str(kube / "kube-scheduler"),
        f"--kubeconfig={state / 'admin.kubeconfig'}",
        "--secure-port=0",
        "--leader-elect=false",
        "--profiling=false",
    ]
