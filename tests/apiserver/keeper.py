"""The control plane of a run of tests, which all workers of the run share.

The first test that needs it starts this program. It runs the control plane, makes what is
cluster-wide, and ends all of it when the run has ended, however that ended.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node.cluster.control_plane import control_plane
from kotatsu_node.layout import Layout

CRDS = Path(__file__).parents[2] / "charts/kotatsu/crds"
NODE = "node"
"""The name of the node that all pods are on."""
_CONTROLLERS = ("endpointslice-controller", "job-controller", "statefulset-controller")
_START_SECONDS = 180.0


@dataclass(frozen=True)
class Plane:
    """How tests reach the control plane: its kubectl, and an administrator's kubeconfig."""

    kubectl: str
    kubeconfig: str


def shared(run: str, process: int) -> Plane:
    """The control plane of a run, which ends with this process; started unless it is there.

    `run` names the run uniquely.
    """
    folder = Path(tempfile.gettempdir()) / f"kotatsu-tests-{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told, log = folder / "plane.json", folder / "keeper.log"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            with log.open("wb") as output:
                keeper = subprocess.Popen(
                    [sys.executable, "-m", "apiserver.keeper", str(told), str(process)],
                    env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C ends the run, and the run's end ends this
                )
            _wait_for(told, keeper, log)
            keeper.returncode = 0  # it outlives this process, and Popen would warn of it
    return Plane(**json.loads(told.read_text()))


def _wait_for(told: Path, keeper: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not told.exists():
        if keeper.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"no control plane for the tests: {log.read_text()[-3000:]}")
        time.sleep(0.05)


def main(told: Path, process: int) -> None:
    """Keep a control plane until a process has ended; say in the file `told` where it is."""
    ended = os.pidfd_open(process)
    with control_plane(Layout.from_environment(), controllers=_CONTROLLERS) as plane:
        kubectl = (str(plane.kubectl), f"--kubeconfig={plane.admin}")
        _prepare(*kubectl)
        written = told.with_suffix(".new")
        written.write_text(json.dumps({"kubectl": kubectl[0], "kubeconfig": str(plane.admin)}))
        written.rename(told)
        select.select([ended], [], [])
    shutil.rmtree(told.parent, ignore_errors=True)


def _prepare(*kubectl: str) -> None:
    room = {"cpu": "1000", "memory": "1000Gi", "pods": "10000"}
    status = {"capacity": room, "allocatable": room}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": status}
    for arguments, given in (
        (("apply", "--server-side", "-f", str(CRDS)), ""),
        (("create", "-f", "-"), json.dumps(node)),
        (("wait", "--for=condition=Established", "-f", str(CRDS)), ""),
    ):
        subprocess.run([*kubectl, *arguments], input=given.encode(), check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
