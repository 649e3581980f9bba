"""The pod that sends the requests of a rehearsal."""

import json
from datetime import timedelta
from importlib.resources import files
from typing import Any

Object = dict[str, Any]

_USER = 65532
_RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER: Object = {
    "resources": {  # a quota may require limits
        "requests": {"cpu": "20m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    },
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
}
_SCHEDULING = ("imagePullSecrets", "nodeSelector", "tolerations")


def client_pod(name: str, job: Object, patience: timedelta, like: Object, image: str) -> Object:
    """A pod that runs `load.py` with `job`, and ends after `patience` at the latest.

    `like` is the PodSpec of the operator, or empty: the pod is pulled and scheduled like it. What
    the pod may do never comes from the cluster: it runs in the name of whoever rehearses, often an
    administrator. On OpenShift the operator has no user id, because only the namespace's own are
    admitted, and then the pod has none either.
    """
    user = (
        {}
        if like and "runAsUser" not in (like.get("securityContext") or {})
        else {"runAsUser": _USER}
    )
    script = files(__package__).joinpath("load.py").read_text(encoding="utf-8")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "kubectl-demo-mode"},
        },
        "spec": {
            **{field: like[field] for field in _SCHEDULING if field in like},
            "securityContext": {**_RESTRICTED, **user},
            "restartPolicy": "Never",
            # It ends even if the plugin cannot delete it.
            "activeDeadlineSeconds": int(patience.total_seconds()),
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [
                {
                    **_CONTAINER,
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", script, json.dumps(job)],
                }
            ],
        },
    }
