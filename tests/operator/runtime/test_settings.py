"""What the two programs take from their environment."""

import json
from decimal import Decimal

import pytest
from rows import each

from kotatsu_common.settings import load
from kotatsu_operator.__main__ import scope_of
from kotatsu_operator.core.pool.spec import BUILT_IN, NO_PRICES, ScaledKind
from kotatsu_operator.core.scope import Scope
from kotatsu_operator.runtime.settings import ActivatorSettings, OperatorSettings

DOWNWARD = {
    "KOTATSU_NAMESPACE": "demo",
    "KOTATSU_ACTIVATORS": "kotatsu/0",
    "KOTATSU_POD_NAME": "activator-1",
    "KOTATSU_POD_UID": "uid-1",
    "KOTATSU_POD_IPS": "10.0.0.9,fd00::9",
    "KOTATSU_NODE_NAME": "node-a",
}


def operator(**given):
    return load(OperatorSettings, {"KOTATSU_POD_NAMESPACE": "kotatsu-system"} | given)


def test_an_operator_serves_the_whole_cluster_unless_told_otherwise(capsys):
    assert scope_of(operator()) == Scope("kotatsu-system")
    with pytest.raises(SystemExit) as caught:
        load(OperatorSettings, {})
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("KOTATSU_POD_NAMESPACE is not set")


def test_what_an_install_serves_and_by_which_activators_is_set():
    team = {"matchLabels": {"team": "shop"}}
    settings = operator(
        KOTATSU_NAMESPACE_SELECTOR=json.dumps(team),
        KOTATSU_SERVE_UNLABELED="false",
        KOTATSU_SHARDS="2",
        KOTATSU_OWN="a, b",
    )
    assert scope_of(settings) == Scope(
        "kotatsu-system", team, unlabeled=False, shards=2, own=frozenset(["a", "b"])
    )


def test_an_activator_knows_its_pod():
    settings = load(ActivatorSettings, DOWNWARD)
    pod = settings.namespace, settings.pod_name, settings.pod_uid
    assert pod == ("demo", "activator-1", "uid-1")
    assert (settings.pod_ips, settings.node_name) == (("10.0.0.9", "fd00::9"), "node-a")
    assert settings.drain_timeout == 60


def test_an_activator_that_does_not_know_its_pod_says_what_is_missing(capsys):
    with pytest.raises(SystemExit):
        load(ActivatorSettings, {})
    assert capsys.readouterr().err.splitlines() == [f"{name} is not set" for name in DOWNWARD]


@each(
    "name, value, said",
    [
        ("RUNTIME", "lambda", ""),
        ("PRICES", "6.5 yen", "it is not JSON"),
        ("PRICES", "[]", "write it like"),
        ("PRICES", '{"cpuHour": "6.5"}', "prices.currency: '' is not an ISO 4217 code"),
        ("PRICES", '{"currency":"JPY","cpuHour":"6,5"}', "prices.cpuHour: '6,5' is not an amount"),
        ("PRICES", '{"currency": "JPY", "cpu": "6.5"}', "prices.cpu: is not one of cpuHour"),
        ("PRICES", '{"currency": "JPY", "extended": ["gpu"]}', "prices.extended: is not a table"),
        ("TARGETS", "rollouts", ""),
        ("TARGETS", "v1/Pod/pods", ""),
        ("TARGETS", "a.io/v1/Service/services", ""),
        ("TARGETS", "a.io/v1/A/../secrets", ""),
        ("NAMESPACE_SELECTOR", '{"team": "shop"}', "write it like"),
        ("DRAIN_TIMEOUT", "0s", ""),
        ("DRAIN_TIMEOUT", "60", "write it like 90s, 2m or 1h30m"),
    ],
)
def test_a_program_with_a_wrong_setting_names_it_and_does_not_start(capsys, name, value, said):
    settings = ActivatorSettings if name == "DRAIN_TIMEOUT" else OperatorSettings
    with pytest.raises(SystemExit) as caught:
        load(settings, {**DOWNWARD, "KOTATSU_POD_NAMESPACE": "demo", f"KOTATSU_{name}": value})
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert text.startswith(f"KOTATSU_{name} is ")
    assert said in text


def test_an_operator_has_no_prices_and_looks_for_knative_unless_told_otherwise():
    settings = operator()
    assert (settings.prices, settings.runtime) == (NO_PRICES, "auto")


def test_prices_are_read_as_they_are_written():
    table = '{"currency": "JPY", "cpuHour": 0.1, "extended": {"nvidia.com/gpu": "110"}}'
    prices = operator(KOTATSU_PRICES=table).prices
    assert prices.currency == "JPY"
    assert prices.per_hour == {"cpu": Decimal("0.1"), "nvidia.com/gpu": 110}


def test_kinds_of_targets_are_added_to_those_of_every_cluster():
    targets = operator(KOTATSU_TARGETS="argoproj.io/v1alpha1/Rollout/rollouts").targets
    assert list(targets) == ["Deployment", "StatefulSet", "Rollout"]
    assert targets["Rollout"] == ScaledKind("argoproj.io/v1alpha1", "Rollout", "rollouts")
    assert list(operator().targets) == list(BUILT_IN)
