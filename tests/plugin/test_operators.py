"""Commands that need an operator first ask whether one watches the namespace and acts."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from plugin.kit import Cluster, Ran, demo_mode, lease, manifest, operator
from rows import each

from kotatsu_demo_mode.errors import ForbiddenError
from kotatsu_operator.core.protocol import INSTALL_LABEL

OVERRIDE = {"mode": "Warm", "until": "2099-01-01T00:00:00Z"}
NEEDS_ONE = ["on voice", "on voice --wait", "off voice --now", "rehearse voice"]


def run(words: str, cluster: Cluster) -> Ran:
    return demo_mode(*words.split(), cluster=cluster)


@each("words", NEEDS_ONE)
def test_without_an_operator_nothing_is_written_and_the_error_says_what_to_install(words: str):
    cluster = Cluster(manifest(), operators=[])
    ran = run(words, cluster)
    assert (ran.code, ran.out, cluster.writes) == (1, "", [])
    assert ran.err == (
        "error: namespace demo is not served by Kotatsu (no operator runs in this cluster): "
        "install the chart kotatsu\n"
    )


@pytest.mark.parametrize("words", ["on voice", "off voice --now"])
def test_an_operator_that_may_start_in_a_moment_is_a_note(words: str):
    cluster = Cluster(manifest(), operators=[operator(ready=0)])
    cluster.lease = lease("", 60)
    ran = run(words, cluster)
    assert ran.code == 0
    assert len(cluster.writes) == 1
    assert ran.err.startswith("note: the operator kotatsu/kotatsu-operator has no Ready pod, so ")
    assert "`kubectl describe deployment kotatsu-operator -n kotatsu`" in ran.err


def test_on_with_wait_gives_an_operator_a_minute_to_start_and_then_writes_nothing():
    cluster = Cluster(manifest(), operators=[operator(ready=0)])
    cluster.lease = lease("", 60)
    ran = run("on voice --wait", cluster)
    assert (ran.code, ran.out, cluster.writes) == (1, "", [])
    assert ran.err.startswith("error: the operator kotatsu/kotatsu-operator has no Ready pod")


def test_on_with_wait_goes_on_when_the_operator_has_started():
    class Starting(Cluster):
        looks = 0

        def get(self, path: str, **query: str) -> dict[str, Any]:
            if path.endswith("/deployments"):
                self.looks += 1
                self.operators = [operator(ready=int(self.looks > 3))]
                self.lease = lease("kotatsu-operator-1") if self.looks > 3 else lease("", 60)
            return super().get(path, **query)

    cluster = Starting(manifest())
    ran = run("on voice --wait --timeout 10s", cluster)
    assert len(cluster.writes) == 1
    assert "error: voice is not Warm after 10s" in ran.err


@each("words", NEEDS_ONE)
def test_an_operator_that_is_scaled_to_0_is_not_waited_for(words: str):
    cluster = Cluster(manifest(), operators=[operator(ready=0, replicas=0)])
    cluster.lease = lease("", 60)
    ran = run(words, cluster)
    assert (ran.code, cluster.writes) == (1, [])
    assert "has no Ready pod" in ran.err


def test_ready_pods_that_do_not_renew_the_lease_do_not_act():
    cluster = Cluster(manifest())
    cluster.lease = lease("kotatsu-operator-1", 60)
    ran = run("on voice --wait", cluster)
    assert (ran.code, cluster.writes) == (1, [])
    assert "kotatsu/kotatsu-operator does not renew its Lease" in ran.err


@pytest.mark.parametrize("age", [3600, -3600], ids=["behind", "ahead"])
def test_a_lease_of_another_clock_counts_as_renewed_when_it_changes(age: int):
    ages = itertools.count(age, -2)

    class Skewed(Cluster):
        def get(self, path: str, **query: str) -> dict[str, Any]:
            self.lease = lease("kotatsu-operator-1", next(ages))
            return super().get(path, **query)

    ran = run("on voice", Skewed(manifest()))
    assert (ran.code, ran.err) == (0, "")


def test_while_kotatsu_is_uninstalled_nothing_is_written():
    cluster = Cluster(manifest())
    cluster.lease = lease("uninstall")
    ran = run("on voice", cluster)
    assert (ran.code, cluster.writes) == (1, [])
    assert "stands by while Kotatsu is uninstalled: see `kubectl get jobs -n kotatsu`" in ran.err


def test_what_may_not_be_read_is_not_held_against_the_command():
    class Closed(Cluster):
        def get(self, path: str, **query: str) -> dict[str, Any]:
            if path.endswith("/deployments"):
                return self.closed()
            return super().get(path, **query)

        def closed(self) -> dict[str, Any]:
            raise ForbiddenError("you have no permission: deployments.apps is forbidden")

    without_lease = Cluster(manifest())
    without_lease.lease = None
    for cluster in (Closed(manifest()), without_lease):
        ran = run("on voice", cluster)
        assert (ran.code, ran.err, len(cluster.writes)) == (0, "", 1)


def test_off_removes_the_override_all_the_same_and_says_that_nobody_follows_the_schedule():
    cluster = Cluster(manifest(override=OVERRIDE), operators=[])
    ran = run("off voice", cluster)
    assert (ran.code, len(cluster.writes)) == (0, 1)
    assert ran.err.startswith("note: namespace demo is not served by Kotatsu")


def test_a_window_is_planned_all_the_same_with_a_note():
    add = "window add pitch voice --at 2030-12-18T10:00 --for 1h"
    cluster = Cluster(manifest(windows=[]), operators=[])
    ran = run(add, cluster)
    assert (ran.code, len(cluster.writes)) == (0, 1)
    assert "note: namespace demo is not served by Kotatsu" in ran.out
    assert "note:" not in run("window remove pitch voice", cluster).out


def test_with_several_namespaces_the_served_one_is_warmed():
    class Two(Cluster):
        def get(self, path: str, **query: str) -> dict[str, Any]:
            found = super().get(path, **query)
            for raw in found.get("items", []) if path.endswith("warmpools") else []:
                raw["metadata"]["namespace"] = raw["metadata"]["name"]
            return found

        def patch(
            self, path: str, body: Any, kind: str, query: Mapping[str, str]
        ) -> dict[str, Any]:
            raw = super().patch(path, body, kind, query)
            raw["metadata"]["namespace"] = raw["metadata"]["name"]
            return raw

    cluster = Two(manifest("voice"), manifest("auth"))
    cluster.labels["auth"] = {INSTALL_LABEL: "elsewhere"}
    ran = run("on -A --all", cluster)
    assert (ran.code, len(cluster.writes)) == (1, 1)
    assert ran.out.startswith("warmpool.kotatsu.dev/voice warmed until ")
    assert ran.err.startswith("error: auth: namespace auth is not served by Kotatsu")
