"""`window` against a real API server: what it writes, who owns it, and what it leaves alone."""

import json
from typing import Any

import pytest
from plugin.apiserver import Api
from plugin.conftest import Shell
from plugin.kit import NOW

from kotatsu_demo_mode.api import Api as Session
from kotatsu_demo_mode.entries import Request, adding, write
from kotatsu_demo_mode.errors import ConflictError
from kotatsu_demo_mode.pools import read_pool

pytestmark = pytest.mark.slow

ADD = "kubectl demo-mode window add pitch voice --at 2030-12-18T10:00 --for 2h"
PITCH = {"name": "pitch", "replicas": 3, "start": "2030-12-18T10:00", "end": "2030-12-18T12:00"}


def windows(api: Api, name: str = "voice") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("warmpool", name)["spec"].get("windows") or []
    return found


def owned(api: Api, by: str) -> dict[str, Any]:
    """The windows of a field manager."""
    raw = json.loads(api.kubectl("get", "warmpool", "voice", "-o", "json", "--show-managed-fields"))
    entries = [m for m in raw["metadata"]["managedFields"] if m["manager"] == by]
    fields = [
        m["fieldsV1"]["f:spec"].get("f:windows", {}) for m in entries if "f:spec" in m["fieldsV1"]
    ]
    return {key: value for found in fields for key, value in found.items() if key != "."}


def test_add_owns_its_window_and_remove_removes_only_that(api: Api, sh: Shell):
    before = windows(api)
    sh.ok(f"{ADD} --replicas 3")
    assert windows(api) == [*before, PITCH]
    assert set(owned(api, "demo-mode")) == {'k:{"name":"pitch"}'}
    sh.ok("kubectl demo-mode window remove pitch voice")
    assert windows(api) == before
    assert owned(api, "demo-mode") == {}


def test_the_switch_and_windows_do_not_touch_each_other(api: Api, sh: Shell):
    sh.ok("kubectl demo-mode on voice")
    sh.ok(f"{ADD} --replicas 3")
    assert api.get("warmpool", "voice")["spec"]["override"]["mode"] == "Warm"
    sh.ok("kubectl demo-mode off voice")
    assert windows(api)[-1] == PITCH
    sh.ok("kubectl demo-mode window remove pitch voice")
    assert "override" not in api.get("warmpool", "voice")["spec"]


def test_a_pool_without_windows_gets_its_first_one(api: Api, sh: Shell):
    remove = '[{"op": "remove", "path": "/spec/windows"}]'
    api.kubectl("patch", "warmpool", "voice", "--type=json", "-p", remove)
    sh.ok(f"{ADD} --replicas 3")
    assert windows(api) == [PITCH]


def test_a_window_of_a_server_side_apply_is_named_and_a_new_one_stays(api: Api, sh: Shell):
    spec = {"targetRef": {"name": "gitops"}, "windows": [PITCH]}
    theirs = {"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPool", "spec": spec}
    theirs["metadata"] = {"name": "gitops", "namespace": "demo"}
    apply = ("apply", "--server-side", "--field-manager=flux", "-f", "-")
    api.kubectl(*apply, stdin=json.dumps(theirs))
    said = sh.refused("kubectl demo-mode window remove pitch gitops")
    assert "the window pitch of gitops is owned by flux; remove it there" in said
    sh.ok("kubectl demo-mode window add talk gitops --at 2030-12-19T10:00")
    api.kubectl(*apply, stdin=json.dumps(theirs))
    assert [w["name"] for w in windows(api, "gitops")] == ["pitch", "talk"]


def test_what_the_operator_writes_meanwhile_does_not_matter(api: Api, sh: Shell):
    """The status changes at any time; the spec is what a window was planned for."""
    api.set_status("voice", phase="Warm")
    sh.ok(f"{ADD} --replicas 3")
    assert windows(api)[-1] == PITCH


def test_get_list_and_patch_are_the_permissions_that_it_needs(api: Api, sh: Shell):
    role = ("--verb=get,list,patch", "--resource=warmpools.kotatsu.dev")
    api.kubectl("create", "clusterrole", "write-pools", *role)
    api.kubectl("create", "clusterrolebinding", "write", "--clusterrole=write-pools", "--user=ann")
    try:
        for line in (
            f"{ADD} --replicas 3",
            "kubectl demo-mode window list",
            "kubectl demo-mode window remove pitch voice",
        ):
            done = sh(line, user="ann")
            assert (done.returncode, done.stderr) == (0, "")
    finally:
        api.kubectl("delete", "clusterrolebinding", "write")
        api.kubectl("delete", "clusterrole", "write-pools")


def test_a_spec_that_changes_between_the_question_and_the_write_is_refused(api: Api, sh: Shell):
    edit = adding(read_pool(api.get("warmpool", "voice")), Request("pitch", "2h", "18:00"), NOW)
    api.kubectl("patch", "warmpool", "voice", "--type=merge", "-p", '{"spec":{"windows":[]}}')
    flags = [f"--kubeconfig={api.kubeconfig()}"]
    changed = pytest.raises(ConflictError, match="the pool voice has changed meanwhile")
    with Session(flags, str(api.plane.kubectl)) as session, changed:
        write(session, edit.pool, [edit], dry_run=False)
    assert windows(api) == []
