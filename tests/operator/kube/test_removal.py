"""Which pods a step down may end, as the watch has shown them."""

from rows import each

from kotatsu_operator.core.protocol import COST, MARK
from kotatsu_operator.kube.views import pod_view, removal_of
from tests.operator.cluster import pod


def made(name, *, owner="rs-1", kind="ReplicaSet", cost=None, node="node-a", **how):
    obj = pod(name, **{"ready": True} | how)
    by = {"kind": kind, "name": owner, "uid": f"uid-{owner}", "controller": True}
    obj["metadata"]["ownerReferences"] = [by]
    obj["metadata"]["annotations"] = {} if cost is None else {COST: cost}
    obj["spec"]["nodeName"] = node
    return pod_view(obj)


def of(*pods, kind="Deployment", settled=True):
    return removal_of(pods, kind, is_settled=settled)


def test_pods_that_end_or_have_ended_are_no_replicas():
    found = of(made("a"), made("b", terminating=True), made("c", phase="Failed"))
    assert [one.name for one in found.pods] == ["a"]
    assert found.is_known


def test_a_replicaset_ends_what_has_no_node_then_what_does_not_run_then_what_is_not_ready():
    pods = [made("d"), made("c", ready=False), made("b", phase="Pending", ready=False)]
    found = of(*pods, made("a", phase="Pending", ready=False, node=""))
    assert found.chosen(4) == ["a", "b", "c", "d"]
    assert found.may_end(4, 1) == {"a", "b", "c"}


def test_of_equal_pods_those_on_crowded_nodes_come_first_and_marked_ones_before_them():
    pods = [made("a"), made("b", node="node-b"), made("c", node="node-b")]
    assert of(*pods).chosen(1) != ["a"]
    assert of(*pods).may_end(3, 2) == {"a", "b", "c"}
    found = of(made("a", cost=MARK), *pods[1:])
    assert (found.marked, found.may_end(3, 2)) == ({"a"}, {"a"})


@each("others, settled", [
    ({"owner": "rs-2"}, True),
    ({"kind": "Job"}, True),
    ({"cost": "5"}, True),
    ({}, False),
])  # fmt: skip
def test_during_a_rollout_or_with_costs_of_others_the_order_is_not_known(others, settled):
    found = of(made("a"), made("b", **others), settled=settled)
    assert not found.is_known
    assert found.may_end(2, 1) == {"a", "b"}


def test_the_order_of_another_kind_is_not_known():
    assert not of(made("a"), kind="Rollout").is_known
    assert not removal_of([pod_view(pod("a"))], "Deployment", is_settled=True).is_known


def test_a_statefulset_ends_the_highest_ordinals_also_during_a_rollout():
    pods = [made(f"db-{n}", owner="db", kind="StatefulSet") for n in (2, 0, 10)]
    found = of(*pods, kind="StatefulSet", settled=False)
    assert (found.is_known, found.chosen(2)) == (True, ["db-10", "db-2"])
    assert not of(made("db", kind="StatefulSet"), kind="StatefulSet").is_known
