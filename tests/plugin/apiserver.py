"""A real API server with the WarmPool CRD and no nodes: what kubectl and the plugin talk to.

etcd and kube-apiserver of the throwaway node's binary, on free ports of loopback. Nothing runs in
it: the tests write the status themselves, as the operator would.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kotatsu_node.certs import ensure
from kotatsu_node.layout import Layout

ROOT = Path(__file__).parents[2]
CRD = ROOT / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml"
TOKENS = {"admin": "system:masters", "ann": "", "reader": ""}


def find_binaries() -> Path | None:
    """Where tools/node has built the Kubernetes binary; None when it has not."""
    built = Layout.from_environment().binaries.glob("kube-*/kube-apiserver")
    return next((path.parent for path in sorted(built)), None)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


@dataclass
class Api:
    """The server, as somebody of a kubeconfig sees it."""

    binaries: Path
    home: Path
    port: int

    def kubeconfig(self, user: str = "admin", namespace: str = "demo") -> Path:
        """A kubeconfig of one user: `admin`, or `ann` and `reader` without any rights."""
        path = self.home / f"{user}-{namespace}.json"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "api",
                    "cluster": {
                        "server": f"https://127.0.0.1:{self.port}",
                        "certificate-authority": str(self.home / "pki/ca.crt"),
                    },
                }
            ],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [
                {
                    "name": user,
                    "context": {"cluster": "api", "user": user, "namespace": namespace},
                }
            ],
            "current-context": user,
        }
        path.write_text(json.dumps(config))
        return path

    def environment(self, user: str = "admin", namespace: str = "demo") -> dict[str, str]:
        """What a shell of this user has."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig(user, namespace)),
            "PATH": f"{self.binaries}:{os.environ['PATH']}",
            "HOME": str(self.home),
        }

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str = "admin") -> str:
        """Run kubectl; an AssertionError with its words when it fails."""
        done = subprocess.run(
            [str(self.binaries / "kubectl"), *arguments],
            input=stdin,
            env=self.environment(user),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def set_status(self, name: str, **status: Any) -> None:
        """Say what an operator would say of a pool."""
        patch = json.dumps({"status": status})
        self.kubectl(
            *("patch", "warmpool", name, "--subresource=status", "--type=merge", "-p", patch)
        )


@contextmanager
def serve(binaries: Path, home: Path) -> Iterator[Api]:
    """Start etcd and the API server below `home`; end them on leaving."""
    ensure(home / "pki")
    rows = [f"{user},{user},{user},{group}" for user, group in TOKENS.items()]
    (home / "tokens.csv").write_text("\n".join(rows) + "\n")
    etcd, peer, port = _free_ports(3)
    address = f"http://127.0.0.1:{etcd}"
    peers = f"http://127.0.0.1:{peer}"
    pki = home / "pki"
    commands = {
        "etcd": [
            f"--data-dir={home / 'etcd'}",
            f"--listen-client-urls={address}",
            f"--advertise-client-urls={address}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ],
        "kube-apiserver": [
            f"--etcd-servers={address}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--advertise-address=192.0.2.1",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--token-auth-file={home / 'tokens.csv'}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            f"--cert-dir={home / 'certs'}",
            "--disable-admission-plugins=ServiceAccount",
            "--shutdown-watch-termination-grace-period=1s",
            "--profiling=false",
        ],
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, arguments in commands.items():
            with (home / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen([binaries / name, *arguments], stdout=log, stderr=log)
                )
        api = Api(binaries, home, port)
        _wait(api)
        api.kubectl("apply", "--server-side", "-f", str(CRD))
        api.kubectl("wait", "--for=condition=Established", "crd/warmpools.kotatsu.dev")
        api.kubectl("create", "namespace", "demo")
        yield api
    finally:
        for process in reversed(running):
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(api: Api) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            assert api.kubectl("get", "--raw", "/readyz") == "ok"
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return
