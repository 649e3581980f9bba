"""Each image of ours, whatever base it was built on, works as a pod with the rights of ours."""

from pathlib import Path

import pytest
from e2e.conftest import MakeNamespace
from e2e.kit import Kubectl, eventually

from kotatsu_demo.images import IMAGES, TAG, local_name

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(300)]

INSIDE = Path(__file__).parents[1] / "images/inside.py"
AS_IN_A_HOOK = 'ls / > /dev/null && sleep 0 && kill -0 1 && exec python3 -c "$0"'
"""What preStop hooks need of a shell, before Python runs what is given to the shell."""


@pytest.fixture(scope="module")
def kubectl(make_namespace: MakeNamespace) -> Kubectl:
    return make_namespace("images")


@pytest.mark.parametrize("image", [image for image in IMAGES if image.folder], ids=lambda i: i.name)
async def test_every_file_finds_its_libraries_and_every_module_is_imported(kubectl, image):
    container = {
        "name": "app",
        "image": f"{local_name(image)}:{TAG}",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", AS_IN_A_HOOK, INSIDE.read_text()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": image.name}, "spec": spec}
    kubectl.apply(pod)

    def phase() -> str:
        found = kubectl.get("pod", image.name)["status"]["phase"]
        return found if found in ("Succeeded", "Failed") else ""

    ended = await eventually(f"pod {image.name} ends", phase)
    assert ended == "Succeeded", kubectl("logs", image.name)
