"""Rollouts without Argo: their CRD, and a controller that the test plays."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from e2e.kit import Kubectl, Object

ANY: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {**ANY, "properties": {"replicas": {"type": "integer"}}},
                            "status": ANY,
                        },
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.HPAReplicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }
        ],
    },
}


REVISION = "rollouts-pod-template-hash"
"""The label of the pods of one revision."""


def replica_set(rollout: Object, replicas: int) -> Object:
    """The ReplicaSet of the current revision of a Rollout, as Argo names it and its labels."""
    spec, template = rollout["spec"], rollout["spec"]["template"]
    of = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
    labels = template["metadata"]["labels"] | {REVISION: of}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": f"{rollout['metadata']['name']}-{of}", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": spec["selector"]["matchLabels"] | {REVISION: of}},
            "template": template | {"metadata": template["metadata"] | {"labels": labels}},
        },
    }


def status(rollout: Object, current: Object, former: Sequence[Object]) -> Object:
    """The status as Argo writes it: the generation is text, and a count of 0 is left out."""
    labels = rollout["spec"]["selector"]["matchLabels"]
    replicas = sum(_count(made, "replicas") for made in (current, *former))
    counts = {
        "HPAReplicas": replicas,
        "replicas": replicas,
        "updatedReplicas": _count(current, "replicas"),
        "readyReplicas": sum(_count(made, "readyReplicas") for made in (current, *former)),
    }
    return {
        "observedGeneration": str(rollout["metadata"]["generation"]),
        "selector": ",".join(f"{name}={value}" for name, value in labels.items()),
        **{name: count for name, count in counts.items() if count},
    }


def _count(made: Object, what: str) -> int:
    return int((made.get("status") or {}).get(what, 0))


@contextlib.asynccontextmanager
async def played(kubectl: Kubectl, name: str) -> AsyncIterator[None]:
    """Follow one Rollout for as long as the test needs it."""

    async def follow() -> None:
        while True:
            await asyncio.to_thread(_follow_once, kubectl, name)
            await asyncio.sleep(0.2)

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _follow_once(kubectl: Kubectl, name: str) -> None:
    """One look: a revision replaces the former ones when its pods are Ready, without steps."""
    rollout: Any = kubectl.get("rollout", name)
    replicas = rollout["spec"].get("replicas")
    if replicas is None:
        # Argo's controller writes the default into the object, as the manager of the field.
        manager = "--field-manager=rollouts-controller"
        kubectl("patch", "rollout", name, "--type=merge", manager, "-p", '{"spec":{"replicas":1}}')
        return
    wanted = replica_set(rollout, replicas)
    kubectl.apply(wanted)
    current = kubectl.get("replicaset", wanted["metadata"]["name"])
    labels = rollout["spec"]["selector"]["matchLabels"]
    made = kubectl.items("replicasets", **labels)
    former = [one for one in made if one["metadata"]["name"] != wanted["metadata"]["name"]]
    if _count(current, "readyReplicas") >= replicas:
        for one in filter(lambda one: one["spec"]["replicas"], former):
            kubectl("scale", "replicaset", one["metadata"]["name"], "--replicas=0")
    found, known = status(rollout, current, former), rollout.get("status") or {}
    if found != known:
        new = {"status": dict.fromkeys(known) | found}
        patch = ("--type=merge", "--subresource=status", "-p", json.dumps(new))
        kubectl("patch", "rollout", name, *patch)
