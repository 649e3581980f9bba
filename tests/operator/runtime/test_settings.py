"""What the two programs take from their environment."""

import json
from decimal import Decimal

import pytest
from rows import each

from kotatsu_common.settings import load
from kotatsu_operator.__main__ import options_of
from kotatsu_operator.controller.namespaces import Install
from kotatsu_operator.core.pool.spec import BUILT_IN, NO_PRICES, ScaledKind
from kotatsu_operator.runtime.settings import ActivatorSettings, OperatorSettings

DOWNWARD = {
    "KOTATSU_NAMESPACE": "demo",
    "KOTATSU_POD_NAME": "activator-1",
    "KOTATSU_POD_UID": "uid-1",
    "KOTATSU_POD_IPS": "10.0.0.9,fd00::9",
    "KOTATSU_NODE_NAME": "node-a",
}


@each(
    "text, namespaces",
    [("demo", ("demo",)), ("demo,staging", ("demo", "staging")), (" a , b ,", ("a", "b"))],
)
def test_namespaces_are_separated_by_commas(text, namespaces):
    assert load(OperatorSettings, {"KOTATSU_NAMESPACES": text}).namespaces == namespaces


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_an_operator_without_namespaces_serves_the_whole_cluster_from_its_own(capsys, text):
    given = {"KOTATSU_NAMESPACES": text}
    settings = load(OperatorSettings, given | {"KOTATSU_POD_NAMESPACE": "kotatsu-system"})
    assert options_of(settings).install == Install("kotatsu-system")
    with pytest.raises(SystemExit) as caught:
        load(OperatorSettings, given)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("KOTATSU_POD_NAMESPACE is not set")


def test_what_an_install_serves_is_a_label_selector_and_a_number_of_shards(capsys):
    given = {"KOTATSU_POD_NAMESPACE": "kotatsu-system", "KOTATSU_RELEASE": "warm"}
    team = {"matchLabels": {"team": "shop"}}
    settings = load(
        OperatorSettings,
        given | {"KOTATSU_NAMESPACE_SELECTOR": json.dumps(team), "KOTATSU_SHARDS": "2"},
    )
    assert options_of(settings).install == Install("kotatsu-system", "warm", team, 2)
    with pytest.raises(SystemExit):
        load(OperatorSettings, given | {"KOTATSU_NAMESPACE_SELECTOR": '{"team": "shop"}'})
    assert "write it like" in capsys.readouterr().err


def test_an_activator_knows_its_pod():
    settings = load(ActivatorSettings, DOWNWARD)
    assert (settings.namespace, settings.pod_name, settings.pod_uid) == (
        "demo",
        "activator-1",
        "uid-1",
    )
    assert (settings.pod_ips, settings.node_name) == (("10.0.0.9", "fd00::9"), "node-a")
    assert settings.drain_timeout == 60


def test_an_activator_that_does_not_know_its_pod_says_what_is_missing(capsys):
    with pytest.raises(SystemExit):
        load(ActivatorSettings, {})
    assert capsys.readouterr().err.splitlines() == [f"{name} is not set" for name in DOWNWARD]


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (OperatorSettings, {"KOTATSU_RUNTIME": "lambda"}),
        (ActivatorSettings, {"KOTATSU_DRAIN_TIMEOUT": "0"}),
    ],
)
def test_a_program_with_a_wrong_setting_names_it_and_does_not_start(capsys, settings, wrong):
    with pytest.raises(SystemExit):
        load(settings, {**DOWNWARD, "KOTATSU_NAMESPACES": "demo", **wrong})
    [name] = wrong
    assert capsys.readouterr().err.startswith(f"{name} is ")


def test_an_operator_has_no_prices_and_looks_for_knative_unless_told_otherwise():
    settings = load(OperatorSettings, {"KOTATSU_NAMESPACES": "demo"})
    assert (settings.prices, settings.runtime) == (NO_PRICES, "auto")


def test_prices_are_read_as_they_are_written():
    table = '{"currency": "JPY", "cpuHour": 0.1, "extended": {"nvidia.com/gpu": "110"}}'
    given = {"KOTATSU_NAMESPACES": "demo", "KOTATSU_PRICES": table}
    prices = load(OperatorSettings, given).prices
    assert prices.currency == "JPY"
    assert prices.per_hour == {"cpu": Decimal("0.1"), "nvidia.com/gpu": 110}


@each(
    "table, named",
    [
        ("6.5 yen", "it is not JSON"),
        ("[]", "write it like"),
        ('{"cpuHour": "6.5"}', "prices.currency: '' is not an ISO 4217 code"),
        ('{"currency": "JPY", "cpuHour": "6,5"}', "prices.cpuHour: '6,5' is not an amount"),
        ('{"currency": "JPY", "cpu": "6.5"}', "prices.cpu: is not one of cpuHour"),
        ('{"currency": "JPY", "extended": ["gpu"]}', "prices.extended: is not a table"),
    ],
)
def test_an_operator_with_a_wrong_price_table_does_not_start(capsys, table, named):
    with pytest.raises(SystemExit) as caught:
        load(OperatorSettings, {"KOTATSU_NAMESPACES": "demo", "KOTATSU_PRICES": table})
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("KOTATSU_PRICES is wrong: ")
    assert named in said


def test_kinds_of_targets_are_added_to_those_of_every_cluster():
    here = {"KOTATSU_NAMESPACES": "demo"}
    rollouts = {"KOTATSU_TARGETS": "argoproj.io/v1alpha1/Rollout/rollouts"}
    targets = load(OperatorSettings, here | rollouts).targets
    assert list(targets) == ["Deployment", "StatefulSet", "Rollout"]
    assert targets["Rollout"] == ScaledKind("argoproj.io/v1alpha1", "Rollout", "rollouts")
    assert list(load(OperatorSettings, here).targets) == list(BUILT_IN)


@pytest.mark.parametrize(
    "text", ["rollouts", "v1/Pod/pods", "a.io/v1/Service/services", "a.io/v1/A/../secrets"]
)
def test_a_kind_that_cannot_be_one_is_no_setting(capsys, text):
    with pytest.raises(SystemExit):
        load(OperatorSettings, {"KOTATSU_NAMESPACES": "demo", "KOTATSU_TARGETS": text})
    assert "targets" in capsys.readouterr().err.lower()
