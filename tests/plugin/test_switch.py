"""on and off against a real API server: what they write, and what they leave alone."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plugin.apiserver import Api
from plugin.conftest import Shell

pytestmark = pytest.mark.slow


def managers(api: Api, name: str) -> dict[str, Any]:
    found = json.loads(api.kubectl("get", "warmpool", name, "-o", "json", "--show-managed-fields"))[
        "metadata"
    ]["managedFields"]
    return {
        f"{m['manager']}/{m['operation']}": m["fieldsV1"]["f:spec"]
        for m in found
        if "subresource" not in m
    }


def override(api: Api, name: str = "voice") -> dict[str, Any] | None:
    found: dict[str, Any] | None = api.get("warmpool", name)["spec"].get("override")
    return found


def test_on_applies_the_override_and_owns_nothing_else(api: Api, sh: Shell):
    prices = {"podPerHour": "1.84375"}
    api.set_status("voice", cost={"currency": "JPY"}, internal={"version": 1, "cost": prices})
    before = api.get("warmpool", "voice")["spec"]
    out = sh.ok("kubectl demo-mode on voice --for 2h --replicas 3 --reason pitch")
    assert out.startswith("warmpool.kotatsu.dev/voice warmed until ")
    assert " Asia/Tokyo (in 2h), 3 pods, 11.06 JPY until then\n" in out
    pool = api.get("warmpool", "voice")
    said, after = pool["metadata"]["annotations"], pool["spec"]
    made = after.pop("override")
    until = datetime.fromisoformat(made.pop("until"))
    assert made == {"mode": "Warm", "replicas": 3}
    assert said["kotatsu.dev/override-by"] == "admin"
    assert said["kotatsu.dev/override-reason"] == "pitch"
    assert abs(until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert after == before
    mine = managers(api, "voice")["demo-mode/Apply"]
    assert set(mine) == {"f:override"}


def test_off_leaves_the_pool_as_it_was_before(api: Api, sh: Shell):
    before = api.get("warmpool", "voice")["spec"]
    sh.ok("kubectl demo-mode on voice")
    out = sh.ok("kubectl demo-mode off voice")
    assert out.startswith("warmpool.kotatsu.dev/voice returned to its schedule: ")
    assert api.get("warmpool", "voice")["spec"] == before
    assert set(managers(api, "voice")) == {"kubectl-client-side-apply/Update"}


def test_both_may_be_said_twice(api: Api, sh: Shell):
    until = (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:00Z")
    sh.ok(f"kubectl demo-mode on voice --until {until}")
    version = api.get("warmpool", "voice")["metadata"]["resourceVersion"]
    out = sh.ok(f"kubectl demo-mode on voice --until {until}")
    assert "voice unchanged: warm until" in out
    assert api.get("warmpool", "voice")["metadata"]["resourceVersion"] == version
    sh.ok("kubectl demo-mode off voice")
    assert "voice unchanged (no override)" in sh.ok("kubectl demo-mode off voice")


def test_off_without_a_name_ends_every_override(api: Api, sh: Shell):
    sh.ok("kubectl demo-mode on --all")
    assert override(api, "auth")
    out = sh.ok("kubectl demo-mode off")
    assert out.count("returned to its schedule") == 2
    assert override(api, "auth") is None
    assert "No pool has an override" in sh.ok("kubectl demo-mode off")


def test_off_says_when_a_window_keeps_the_pods_and_now_ends_that(api: Api, sh: Shell):
    now = datetime.now(UTC)
    window = {
        "name": "talk",
        "start": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}",
        "end": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:00}",
        "replicas": 2,
    }
    spec = {"windows": [window], "timeZone": "UTC"}
    api.kubectl("patch", "warmpool", "voice", "--type=merge", "-p", json.dumps({"spec": spec}))
    sh.ok("kubectl demo-mode on voice")
    assert "window talk keeps 2 pods until " in sh.ok("kubectl demo-mode off voice")
    out = sh.ok("kubectl demo-mode off voice --now")
    assert "put to sleep until " in out
    assert ", when its window ends" in out
    made = override(api)
    assert made is not None
    assert made["mode"] == "Asleep"
    assert made["until"] == f"{window['end']}Z"


def test_now_without_a_window_lasts_five_minutes(api: Api, sh: Shell):
    sh.ok("kubectl demo-mode off auth --now")
    made = override(api, "auth")
    assert made is not None
    left = datetime.fromisoformat(made["until"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)


@pytest.mark.parametrize("dry", ["--dry-run", "--dry-run=client", "--dry-run=server"])
def test_a_dry_run_changes_nothing(api: Api, sh: Shell, dry: str):
    assert "dry run)" in sh.ok(f"kubectl demo-mode on voice {dry}")
    assert override(api) is None
    sh.ok("kubectl demo-mode on voice")
    made = override(api)
    sh.ok(f"kubectl demo-mode off voice {dry}")
    sh.ok(f"kubectl demo-mode off voice --now {dry}")
    assert override(api) == made


def test_an_override_of_somebody_elses_is_taken_over_only_when_told(api: Api, sh: Shell):
    theirs = {"mode": "Warm", "until": "2099-01-01T00:00:00Z", "replicas": 1}
    patch = json.dumps({"spec": {"override": theirs}})
    command = ("patch", "warmpool", "voice", "--type=merge", "-p", patch)
    api.kubectl(*command, "--field-manager=flux")
    owned = "the override of voice is owned by flux; take it over with --force-conflicts"
    assert owned in sh.refused("kubectl demo-mode on voice")
    assert owned in sh.refused("kubectl demo-mode off voice")
    assert override(api) == theirs
    sh.ok("kubectl demo-mode off voice --force-conflicts")
    assert override(api) is None
    api.kubectl(*command, "--field-manager=flux")
    sh.ok("kubectl demo-mode on voice --for 1h --force-conflicts")
    assert override(api) != theirs


def test_labels_namespaces_and_forms(api: Api, sh: Shell):
    out = sh.ok("kubectl demo-mode on -l team=pet -o json")
    assert [i["spec"]["override"]["mode"] for i in json.loads(out)["items"]] == ["Warm", "Warm"]
    one = json.loads(sh.ok("kubectl demo-mode on warmpool/voice -o json"))
    assert one["metadata"]["name"] == "voice"
    out = sh.ok("kubectl demo-mode status -A")
    assert out.splitlines()[0].split()[:2] == ["NAMESPACE", "POOL"]
    assert out.splitlines()[1].split()[:2] == ["demo", "auth"]


def test_wait_returns_when_the_operator_calls_this_very_override_warm(api: Api, sh: Shell):
    generation = api.get("warmpool", "voice")["metadata"]["generation"]
    warm = {
        "type": "Warm",
        "status": "True",
        "reason": "Warm",
        "message": "2 of 2 replicas are Ready",
        "lastTransitionTime": "2026-11-24T00:00:00Z",
        "observedGeneration": generation,
    }
    api.set_status("voice", phase="Warm", readyReplicas=2, desiredReplicas=2, conditions=[warm])
    # What it says of an older spec is not enough.
    late = sh("kubectl demo-mode on voice --wait --timeout 2s")
    assert late.returncode == 1
    assert "error: voice is not Warm after 2s (Warm, 2 of 2 Ready)" in late.stderr
    newer = warm | {"observedGeneration": generation + 2}
    api.set_status("voice", conditions=[newer])
    out = sh.ok("kubectl demo-mode on voice --for 2h --wait")
    assert "warmpool.kotatsu.dev/voice is Warm: 2 pods Ready after " in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "on",
            "name a pool (auth, voice), as in `kubectl demo-mode on auth`, or use --all",
        ),
        ("on nope", "namespace demo has no WarmPool nope; it has auth, voice"),
        ("on pod/voice", "'pod/voice' is not a WarmPool; write it like voice or warmpool/voice"),
        ("on -l team=none", "has no WarmPool with labels team=none; see `kubectl get"),
        ("on voice --until 2020-01-01T00:00", "--until: 2020-01-01T00:00 has passed"),
        ("on voice --replicas 99", "--replicas: 99 is more than 10, the maxReplicas of voice"),
        ("off --now", "name a pool (auth, voice)"),
        ("status --context nope", 'context "nope" does not exist; see `kubectl config'),
        ("status -n nowhere nope", "namespace nowhere has no WarmPool nope; it has none"),
    ],
)
def test_each_mistake_has_its_own_sentence(sh: Shell, words: str, sentence: str):
    assert sentence in sh.refused(f"kubectl demo-mode {words}")


def test_a_suspended_pool_is_not_warmed(api: Api, sh: Shell):
    api.kubectl("patch", "warmpool", "voice", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    said = sh.refused("kubectl demo-mode on voice")
    assert "voice is suspended and ignores overrides; set spec.suspend to false" in said


def test_who_may_read_but_not_write_is_told_what_to_ask_for(api: Api, sh: Shell):
    role = ("--verb=get,list", "--resource=warmpools.kotatsu.dev")
    api.kubectl("create", "clusterrole", "read-pools", *role)
    api.kubectl("create", "clusterrolebinding", "read", "--clusterrole=read-pools", "--user=ann")
    try:
        said = sh.refused("kubectl demo-mode on voice", user="ann")
        assert "you have no permission" in said
        assert 'User "ann" cannot patch resource "warmpools"' in said
        # What only reads still works.
        assert "auth" in sh("kubectl demo-mode plan", user="ann").stdout
    finally:
        api.kubectl("delete", "clusterrolebinding", "read")
        api.kubectl("delete", "clusterrole", "read-pools")


def test_who_may_nothing_is_told_so(sh: Shell):
    assert 'User "reader" cannot list' in sh.refused("kubectl demo-mode status", user="reader")
