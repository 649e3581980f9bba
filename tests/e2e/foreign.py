"""What programs of other projects need in the cluster: their APIs, and rights of their own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml
from e2e.kit import Kubectl, Object

from kotatsu_node.build import peers

RBAC = "rbac.authorization.k8s.io"


def published(name: str, module: str, files: str) -> list[Object]:
    """The objects in the YAML files (a glob) of a module that a program is built from."""
    found = sorted(peers.module_sources(name, module).glob(files))
    objects = [obj for file in found for obj in yaml.safe_load_all(file.read_text()) if obj]
    assert objects, f"no {files} in {module}"
    return objects


@contextmanager
def applied(kubectl: Kubectl, objects: Sequence[Object]) -> Iterator[None]:
    """Objects that no namespace takes along, for as long as they are needed."""
    text = yaml.safe_dump_all(objects)
    # Some CRDs are too large for the annotation of a client-side apply.
    kubectl("apply", "--server-side", "-f", "-", stdin=text)
    try:
        yield
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text)


def rule(group: str, *resources: str, verbs: Sequence[str] = ("get", "list", "watch")) -> Object:
    """One rule of a role: reading, unless other verbs are given."""
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def account(
    kubectl: Kubectl, name: str, in_namespace: Sequence[Object], in_cluster: Sequence[Object]
) -> list[Object]:
    """A ServiceAccount with some rights in its namespace, and others on what is in none."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": kubectl.namespace}
    made: list[Object] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    ]
    for kind, role, rules in (
        ("Role", name, in_namespace),
        ("ClusterRole", f"{kubectl.namespace}-{name}", in_cluster),
    ):
        made += [
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": kind,
                "metadata": {"name": role},
                "rules": list(rules),
            },
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": f"{kind}Binding",
                "metadata": {"name": role},
                "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
                "subjects": [subject],
            },
        ]
    return made
