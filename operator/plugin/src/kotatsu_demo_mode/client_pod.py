"""The pod that sends the requests of a rehearsal."""

import json
from datetime import timedelta
from importlib.resources import files
from typing import Any

Object = dict[str, Any]

ANY_IMAGE: Object = {
    "spec": {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "resources": {
                    "requests": {"cpu": "20m", "memory": "64Mi"},
                    "limits": {"memory": "256Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
            }
        ],
    }
}
"""What it runs as where there is no activator, but for the image."""

_OF_THE_POD = ("imagePullSecrets", "securityContext", "nodeSelector", "tolerations")
_OF_THE_CONTAINER = ("resources", "securityContext")


def client_pod(name: str, job: Object, patience: timedelta, template: Object, image: str) -> Object:
    """A pod that runs `load.py` with `job`, and ends after `patience` at the latest.

    `template` is the pod template of the activators. The pod has their image (or `image`, if it is
    not empty) with its pull secrets, their security context (OpenShift admits no other user id) and
    their resources (a quota may require limits), and is scheduled where they are.
    """
    like, (container, *_) = template["spec"], template["spec"]["containers"]
    script = files(__package__).joinpath("load.py").read_text(encoding="utf-8")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "kubectl-demo-mode"},
        },
        "spec": {
            **{field: like[field] for field in _OF_THE_POD if field in like},
            "restartPolicy": "Never",
            # It ends even if the plugin cannot delete it.
            "activeDeadlineSeconds": int(patience.total_seconds()),
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [
                {
                    **{field: container[field] for field in _OF_THE_CONTAINER},
                    "name": "client",
                    "image": image or container["image"],
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", script, json.dumps(job)],
                }
            ],
        },
    }
