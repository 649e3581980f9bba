"""`check` and `create` know pods with a disk: a further one would begin empty, or share files."""

from typing import Any

import pytest
import yaml
from plugin.kit import demo_mode
from plugin.setups import (
    Object,
    Objects,
    Recorded,
    autoscaler,
    deployment,
    good,
    service,
    warm_pool,
)
from plugin.test_check import PAGES, bad, check, finding
from plugin.test_create import WINDOWS
from rows import each


def stateful_set(replicas: int = 1) -> Objects:
    """A StatefulSet with volumeClaimTemplates, beside its headless Service."""
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    more = {"serviceName": "peers", "volumeClaimTemplates": claims, "replicas": replicas}
    made = deployment(**more) | {"kind": "StatefulSet"}
    return [made, *good()[1:], service("peers", clusterIP="None")]


def with_claim(*modes: str, replicas: int = 1, **volume: Any) -> Objects:
    """A Deployment whose pods have one volume claim."""
    made = deployment(replicas=replicas)
    claim: Object = {"claimName": "files", **volume}
    made["spec"]["template"]["spec"]["volumes"] = [{"name": "a", "persistentVolumeClaim": claim}]
    there = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "files"},
        "spec": {"accessModes": list(modes)},
    }
    return [made, *good()[1:], there]


def most(objects: Objects, *words: str, denied: tuple[str, ...] = ()) -> int | None:
    """maxReplicas in what `create` writes."""
    kind = str(objects[0]["kind"]).lower()
    ran = demo_mode("create", f"{kind}/web", *words, cluster=Recorded(objects, PAGES, denied))
    assert (ran.code, ran.err) == (0, "")
    found: int | None = yaml.safe_load(ran.out)["spec"].get("maxReplicas")
    return found


@each(
    "name, objects, found",
    [
        ("Redis, PostgreSQL or Gitea", stateful_set(), 1),
        ("one that is scaled to 0", stateful_set(0), 1),
        ("etcd of three", stateful_set(3), 3),
        ("a Deployment", with_claim("ReadWriteOnce"), 1),
        ("a Deployment with a claim for one pod", with_claim("ReadWriteOncePod"), 1),
        ("a Deployment of two on one node", with_claim("ReadWriteOnce", replicas=2), 2),
        ("a disk of all nodes", with_claim("ReadWriteOnce", "ReadWriteMany"), 10),
        ("a claim that is only read", with_claim("ReadWriteOnce", readOnly=True), None),
        ("no disk", good(), None),
        ("with an autoscaler", [*with_claim("ReadWriteOnce"), autoscaler()], None),
    ],
)
def test_create_writes_as_many_pods_as_have_the_disk(name: str, objects: Objects, found: int):
    assert most(objects) == found, name


def test_a_claim_that_may_not_be_read_counts_as_one_for_one_pod():
    denied = ("persistentvolumeclaims",)
    assert most(with_claim("ReadWriteMany"), denied=denied) == 1
    answer = check(with_claim("ReadWriteMany"), denied=denied)
    (said,) = [f for f in answer["findings"] if f["level"] == "unknown"]
    assert "whether its pods can share their volume claims: " in said["message"]


def test_a_window_of_more_pods_is_permitted_and_the_disk_is_named():
    assert most(stateful_set(), *WINDOWS) == 5
    ran = demo_mode("create", "statefulset/web", cluster=Recorded(stateful_set(), PAGES))
    assert "# StatefulSet web gives each pod a disk of its own (data)" in ran.out


@each(
    "objects, kind", [(stateful_set(), "statefulset"), (with_claim("ReadWriteOnce"), "deployment")]
)
def test_a_pool_that_would_be_made_has_nothing_to_mend(objects: Objects, kind: str):
    answer = check(objects, f"{kind}/web")
    assert bad(answer) == []
    assert "`create` writes maxReplicas: 1" in finding(answer, "OneDisk")["message"]


def pool(kind: str, **spec: Any) -> Object:
    return warm_pool(targetRef={"apiVersion": "apps/v1", "kind": kind, "name": "web"}, **spec)


@pytest.mark.parametrize("given", [{}, {"maxReplicas": 10}])
@pytest.mark.parametrize(
    ("objects", "kind", "number"),
    [
        (stateful_set(), "StatefulSet", 1),
        (stateful_set(3), "StatefulSet", 3),
        (with_claim("ReadWriteOnce"), "Deployment", 1),
    ],
)
def test_a_pool_that_does_not_say_how_many_pods_fails(
    objects: Objects, kind: str, number: int, given: dict[str, int]
):
    cluster = Recorded([*objects, pool(kind, **given)], PAGES)
    ran = demo_mode("check", "warmpool/web", "-o", "json", cluster=cluster)
    assert (ran.code, bad(ran.json)) == (1, [("disk", "OneDisk")])
    assert finding(ran.json, "OneDisk")["message"].endswith(f"set spec.maxReplicas to {number}")


@each("given, reasons", [({}, [("disk", "NoMaximum")]), ({"maxReplicas": 10}, [])])
def test_of_a_disk_of_all_nodes_the_operator_has_to_be_told(given: dict[str, int], reasons: Any):
    objects = [*with_claim("ReadWriteMany"), pool("Deployment", **given)]
    assert bad(check(objects, "warmpool/web")) == reasons


@each("number", [1, 2])
def test_a_pool_that_says_how_many_is_left_alone(number: int):
    assert bad(check([*stateful_set(), pool("StatefulSet", maxReplicas=number)], "sts/web")) == []
