"""A pool whose clients a NetworkPolicy limits does not get activators that all can reach."""

import pytest
from rows import each

from kotatsu_operator.core.decide.isolation import Shared, check_isolation, ingress_policy
from kotatsu_operator.core.protocol import SHARED_ANNOTATION
from tests.operator.core.values import pool_spec

SPEC = pool_spec()
HOME = {"kubernetes.io/metadata.name": "kotatsu", "kind": "platform"}
SHARED = Shared("kotatsu", HOME, is_accepted=False)
ACCEPTED = Shared("kotatsu", HOME, is_accepted=True)


def policy(*ingress, name="app", namespace="demo"):
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": list(ingress)}
    return ingress_policy({"metadata": {"namespace": namespace, "name": name}, "spec": spec})


def of(**peer):
    return {"from": [peer]}


def at(*ports):
    return {"ports": [port if isinstance(port, dict) else {"port": port} for port in ports]}


NAMED = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kotatsu"}}}
ALL = {"namespaceSelector": {}}
OTHERS = {"namespaceSelector": {"matchLabels": {"team": "shop"}}}
OWN = {"podSelector": {"matchLabels": {"app": "gateway"}}}


NUMBERS = {"http": 8080, "admin": 9000}


def refused(*policies, shared=SHARED, ports=("http",)):
    given = [{"port": 80, "targetPort": port} for port in ports]
    dns = {"port": 53, "protocol": "UDP"}
    why = check_isolation(SPEC, policies, {"spec": {"ports": [*given, dns]}}, NUMBERS, shared)
    assert why is None or why.reason == "Isolated"
    return "" if why is None else why.message


def test_without_a_policy_every_client_may_come():
    assert refused() == ""


@each(
    "ingress",
    [{}, at("http"), at(8080), at(8080, 9090), at({"port": 8000, "endPort": 8080}), at({})],
    name=str,
)
def test_a_policy_that_admits_every_client_to_the_ports_of_the_service_limits_nobody(ingress):
    assert refused(policy(ingress)) == ""
    assert refused(policy(of(**OWN), name="a"), policy(ingress)) == "", "policies add up"


LIMITING = [at(9090), at("admin"), at({"port": 1, "endPort": 8079}), at({"protocol": "UDP"})]


@each("ingress", [*LIMITING, of(**ALL), of(**OWN), of(**OTHERS)], name=str)
def test_a_policy_that_limits_clients_is_named_with_what_to_do(ingress):
    said = refused(policy(ingress))
    assert said.startswith("NetworkPolicy app limits the clients of the pods of Deployment voice")
    assert "`activator.own`" in said
    assert f'{SHARED_ANNOTATION}: "true" of Namespace demo' in said


def test_a_policy_that_admits_nobody_limits_clients():
    assert refused(policy())


def test_all_ports_of_the_service_count():
    assert refused(policy(at("http")), ports=["http", "admin"])
    assert refused(policy(at("http")), policy(at("admin")), ports=["http", "admin"]) == ""
    assert refused(policy(at(8080)), policy(at(9000)), ports=["http", 9000]) == ""


def test_a_port_that_no_container_has_is_open_by_its_name_alone():
    assert refused(policy(at("web")), ports=["web"]) == ""
    assert refused(policy(at({"port": 1, "endPort": 65535})), ports=["web"])


def test_the_owner_of_a_namespace_can_accept_it():
    assert refused(policy(of(**NAMED)), shared=ACCEPTED) == ""


@pytest.mark.parametrize("peer", [OWN, OTHERS], ids=str)
def test_a_policy_that_keeps_the_activators_out_is_said_so_and_cannot_be_accepted(peer):
    admit = "admit namespace kotatsu (kubernetes.io/metadata.name: kotatsu)"
    assert refused(policy(of(**peer))).endswith(f", which must then also {admit}")
    said = refused(policy(of(**peer)), shared=ACCEPTED)
    assert said.startswith("NetworkPolicy app keeps the activators in namespace kotatsu from")
    assert said.endswith(admit)


@each("peer", [NAMED, ALL, {"ipBlock": {"cidr": "10.0.0.0/8"}}], name=str)
def test_a_policy_that_may_admit_the_activators_is_enough(peer):
    assert "must then also" not in refused(policy(of(**peer)))


def test_in_their_own_namespace_activators_are_admitted_with_its_pods():
    assert refused(policy(of(**OWN), namespace="kotatsu"), shared=ACCEPTED) == ""
