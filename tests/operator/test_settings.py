"""What the two programs take from their environment."""

import pytest

from kotatsu_common.settings import load, variable
from kotatsu_operator.settings import ActivatorSettings, OperatorSettings

DOWNWARD = {
    "KOTATSU_NAMESPACE": "demo",
    "KOTATSU_POD_NAME": "activator-1",
    "KOTATSU_POD_UID": "uid-1",
    "KOTATSU_POD_IP": "10.0.0.9",
    "KOTATSU_NODE_NAME": "node-a",
}


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("demo", ("demo",)), ("demo,staging", ("demo", "staging")), (" a , b ,", ("a", "b"))],
)
def test_namespaces_are_separated_by_commas(text, namespaces):
    assert load(OperatorSettings, {"KOTATSU_NAMESPACES": text}).namespaces == namespaces


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_an_operator_without_namespaces_does_not_start(capsys, text):
    """None would mean all of the cluster, which it has no rights to."""
    with pytest.raises(SystemExit) as caught:
        load(OperatorSettings, {"KOTATSU_NAMESPACES": text})
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("KOTATSU_NAMESPACES is ")


def test_an_operator_looks_for_knative_unless_told_otherwise(capsys):
    env = {"KOTATSU_NAMESPACES": "demo"}
    assert load(OperatorSettings, env).runtime == "auto"
    assert load(OperatorSettings, env | {"KOTATSU_RUNTIME": "native"}).runtime == "native"
    with pytest.raises(SystemExit):
        load(OperatorSettings, env | {"KOTATSU_RUNTIME": "lambda"})
    assert capsys.readouterr().err.startswith("KOTATSU_RUNTIME is ")


def test_an_activator_knows_its_pod():
    settings = load(ActivatorSettings, DOWNWARD)
    assert (settings.namespace, settings.pod_name, settings.pod_uid) == (
        "demo",
        "activator-1",
        "uid-1",
    )
    assert (settings.pod_ip, settings.node_name) == ("10.0.0.9", "node-a")
    assert settings.drain_timeout == 60


def test_an_activator_that_does_not_know_its_pod_says_what_is_missing(capsys):
    with pytest.raises(SystemExit):
        load(ActivatorSettings, {})
    assert capsys.readouterr().err.splitlines() == [f"{name} is not set" for name in DOWNWARD]


def test_a_drain_timeout_is_above_zero(capsys):
    with pytest.raises(SystemExit):
        load(ActivatorSettings, {**DOWNWARD, variable("drain_timeout"): "0"})
    assert capsys.readouterr().err.startswith("KOTATSU_DRAIN_TIMEOUT is wrong")
