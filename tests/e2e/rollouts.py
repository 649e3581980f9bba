"""Rollouts without Argo: their CRD, and a controller that the test plays."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
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
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }
        ],
    },
}


def replica_set(rollout: Object) -> Object:
    """The ReplicaSet that makes the pods of a Rollout."""
    spec = rollout["spec"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": rollout["metadata"]["name"]},
        "spec": {
            "replicas": spec.get("replicas", 1),
            "selector": spec["selector"],
            "template": spec["template"],
        },
    }


def status(rollout: Object, replicas: Object) -> Object:
    """The status as Argo writes it: the generation is text."""
    counted = replicas.get("status") or {}
    ready, there = counted.get("readyReplicas", 0), counted.get("replicas", 0)
    labels = rollout["spec"]["selector"]["matchLabels"]
    return {
        "observedGeneration": str(rollout["metadata"]["generation"]),
        "selector": ",".join(f"{name}={value}" for name, value in labels.items()),
        "replicas": there,
        "updatedReplicas": there,
        "readyReplicas": ready,
    }


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
    rollout: Any = kubectl.get("rollout", name)
    kubectl.apply(replica_set(rollout))
    found = status(rollout, kubectl.get("replicaset", name))
    if found != rollout.get("status"):
        patch = ("--type=merge", "--subresource=status", "-p", json.dumps({"status": found}))
        kubectl("patch", "rollout", name, *patch)
