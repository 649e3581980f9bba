"""`window` on the command line: what it says before it writes, what it asks, what it refuses."""

import io
import json
from typing import Any

import pytest
from plugin.kit import EVENINGS, PITCH, Cluster, Ran, demo_mode, manifest
from rows import each

ADD = ("window", "add", "final-pitch", "--at", "2026-11-25T10:00", "--for", "2h", "--replicas", "5")
REMOVE = ("window", "remove", "final-pitch")
PRICED = "voice: final-pitch, 10:00 to 12:00 Asia/Tokyo (in 4h), 5 pods, 18.61 JPY more\n"
ADDED = "warmpool.kotatsu.dev/voice window final-pitch added"


def owned(
    by: str, *windows: dict[str, Any], operation: str = "Update", name: str = "voice"
) -> dict[str, Any]:
    """A pool whose windows a field manager has written."""
    made = manifest(name, windows=list(windows))
    keys = {f"k:{json.dumps({'name': w['name']})}": {".": {}} for w in windows}
    fields = {"f:spec": {"f:windows": {".": {}, **keys}}}
    entry = {"manager": by, "operation": operation, "fieldsV1": fields}
    made["metadata"]["managedFields"] = [entry]
    return made


def test_add_says_the_price_before_it_writes():
    cluster = Cluster(manifest())
    ran = demo_mode(*ADD, cluster=cluster)
    assert (ran.code, ran.out, ran.err) == (0, f"{PRICED}{ADDED}\n", "")
    assert cluster.windows("voice") == [PITCH]


def test_a_pool_may_stand_before_or_after_the_flags():
    for words in ((*ADD, "auth"), (*ADD[:3], "auth", *ADD[3:])):
        cluster = Cluster(manifest(), manifest("auth"))
        assert demo_mode(*words, cluster=cluster).code == 0
        assert (cluster.windows("voice"), cluster.windows("auth")) == ([], [PITCH])


def test_adding_again_writes_nothing():
    cluster = Cluster(manifest(windows=[EVENINGS, PITCH]))
    ran = demo_mode(*ADD, cluster=cluster)
    unchanged = "warmpool.kotatsu.dev/voice window final-pitch unchanged\n"
    assert (ran.code, ran.out, cluster.writes) == (0, unchanged, [])


def test_removing_again_writes_nothing():
    cluster = Cluster(manifest(windows=[PITCH, EVENINGS]))
    assert demo_mode(*REMOVE, cluster=cluster).code == 0
    assert cluster.windows("voice") == [EVENINGS]
    ran = demo_mode(*REMOVE, cluster=cluster)
    assert (ran.code, len(cluster.writes)) == (0, 1)
    assert "window final-pitch unchanged (the pool does not have it)" in ran.out


def test_a_write_is_only_for_the_spec_that_was_read():
    cluster = Cluster(manifest(windows=[EVENINGS]))
    demo_mode(*ADD, cluster=cluster)
    assert cluster.writes == [
        [
            {"op": "test", "path": "/metadata/generation", "value": 1},
            {"op": "add", "path": "/spec/windows", "value": [EVENINGS, PITCH]},
        ]
    ]


def test_a_pool_that_changes_meanwhile_is_not_written():
    class Busy(Cluster):
        def patch(self, path: str, body: Any, kind: str, query: Any) -> dict[str, Any]:
            self.change("voice", windows=[EVENINGS])
            return super().patch(path, body, kind, query)

    cluster = Busy(manifest())
    ran = demo_mode(*ADD, cluster=cluster)
    assert (ran.code, cluster.windows("voice")) == (1, [EVENINGS])
    assert "error: the pool voice has changed meanwhile; check it and repeat" in ran.err


@pytest.mark.parametrize("dry", ["--dry-run", "--dry-run=client", "--dry-run=server"])
@pytest.mark.parametrize("words", [ADD, REMOVE])
def test_a_dry_run_changes_nothing(words: tuple[str, ...], dry: str):
    other = PITCH | {"replicas": 1}
    cluster = Cluster(manifest(windows=[other]))
    ran = demo_mode(*words, dry, cluster=cluster)
    assert ran.code == 0
    assert ran.out.endswith(" dry run)\n")
    assert cluster.windows("voice") == [other]


def test_many_pools_are_changed_by_label_and_one_error_does_not_stop_the_others():
    cluster = Cluster(manifest("auth"), manifest("feed", maxReplicas=2), manifest())
    ran = demo_mode(*ADD, "-l", "team=pet", cluster=cluster)
    assert ran.code == 1
    assert [len(cluster.windows(name)) for name in ("auth", "feed", "voice")] == [1, 0, 1]
    assert ran.err.startswith("error: feed: --replicas: 5 is more than 2")


def test_among_several_pools_one_must_be_named():
    ran = demo_mode(*ADD, cluster=Cluster(manifest(), manifest("auth")))
    assert (ran.code, ran.out) == (1, "")
    assert (
        "name a pool (auth, voice), as in `kubectl demo-mode window add final-pitch auth`"
        in ran.err
    )


def test_the_pool_is_printed_as_json_and_the_price_beside_it():
    ran = demo_mode(*ADD, "-o", "json", cluster=Cluster(manifest()))
    assert ran.json["spec"]["windows"] == [PITCH]
    assert ran.err == PRICED


# --- the question ---


class Person(io.StringIO):
    """Standard input of somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def at_a_terminal(answer: str, *words: str, cluster: Cluster) -> Ran:
    return demo_mode(*words, cluster=cluster, stdin=Person(answer), is_live=True)


@each("answer, code", [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("", 1)])
def test_on_a_terminal_it_asks_before_it_writes(answer: str, code: int):
    cluster = Cluster(manifest())
    ran = at_a_terminal(answer, *ADD, cluster=cluster)
    assert "Continue? [y/N] " in ran.err
    assert (ran.code, len(cluster.writes)) == (code, 1 - code)
    assert ("error: nothing was changed; answer y, or use --yes" in ran.err) is bool(code)


@each("more, there", [("--yes", []), ("-y", []), ("--dry-run", []), ("--replicas=5", [PITCH])])
def test_it_does_not_ask_if_told_or_if_nothing_is_written(more: str, there: list[Any]):
    ran = at_a_terminal("", *ADD, more, cluster=Cluster(manifest(windows=there)))
    assert (ran.code, "Continue?" in ran.err) == (0, False)


# --- other field managers ---


@pytest.mark.parametrize("words", [(*ADD[:-1], "7"), REMOVE])
@pytest.mark.parametrize("operation", ["Apply", "Update"])
def test_a_window_of_another_manager_is_changed_only_by_force(
    words: tuple[str, ...], operation: str
):
    cluster = Cluster(owned("flux", PITCH, operation=operation))
    ran = demo_mode(*words, cluster=cluster)
    assert (ran.code, ran.out, cluster.writes) == (1, "", [])
    assert "the window final-pitch of voice is owned by flux; " in ran.err
    assert demo_mode(*words, "--force-conflicts", cluster=cluster).code == 0
    assert cluster.windows("voice") != [PITCH]


def test_a_window_of_the_plugin_is_changed_without_force():
    cluster = Cluster(owned("demo-mode", PITCH))
    assert demo_mode(*REMOVE, cluster=cluster).code == 0
    assert cluster.windows("voice") == []


def test_beside_a_list_that_a_tool_replaces_a_window_is_added_only_by_force():
    cluster = Cluster(owned("argocd-controller", EVENINGS))
    ran = demo_mode(*ADD, cluster=cluster)
    assert (ran.code, cluster.writes) == (1, [])
    assert "spec.windows of voice is owned by argocd-controller, which may remove other" in ran.err
    assert demo_mode(*ADD, "--force-conflicts", cluster=cluster).code == 0


@each("by, operation", [("flux", "Apply"), ("kubectl-edit", "Update"), ("demo-mode", "Update")])
def test_beside_windows_that_stay_apart_one_is_added(by: str, operation: str):
    ran = demo_mode(*ADD, cluster=Cluster(owned(by, EVENINGS, operation=operation)))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{PRICED}{ADDED}\n"


def test_what_removes_the_window_later_is_said():
    ran = demo_mode(*ADD, cluster=Cluster(owned("kubectl-client-side-apply", EVENINGS)))
    assert ran.code == 0
    assert (
        "voice: the next `kubectl apply` of its manifest removes this window unless you add it "
        "there too\n" in ran.out
    )


# --- the list ---


def test_the_list_shows_each_window_with_its_price_and_owner():
    over = PITCH | {"name": "yesterday", "start": "2026-11-24T10:00", "end": "2026-11-24T12:00"}
    ran = demo_mode("window", "list", cluster=Cluster(owned("flux", PITCH, EVENINGS, over)))
    assert [line.split() for line in ran.out.splitlines()] == [
        ["POOL", "WINDOW", "PODS", "NEXT", "FOR", "COST", "OWNER"],
        ["voice", "final-pitch", "5", "10:00", "Asia/Tokyo", "2h", "18.44", "JPY", "flux"],
        ["voice", "rehearsal", "2", "18:00", "Asia/Tokyo", "1h", "30m", "5.53", "JPY", "flux"],
        ["voice", "yesterday", "5", "over", "-", "-", "flux"],
    ]


def test_the_list_as_json_has_the_entry_and_its_next_opening():
    ran = demo_mode("window", "list", "-o", "json", cluster=Cluster(owned("flux", PITCH)))
    assert ran.json == [
        {
            "namespace": "demo",
            "pool": "voice",
            **PITCH,
            "opens": "2026-11-25T01:00:00Z",
            "closes": "2026-11-25T03:00:00Z",
            "cost": 18.4375,
            "managers": ["flux"],
        }
    ]


def test_wide_adds_the_schedule_and_all_namespaces_the_namespace():
    ran = demo_mode(
        "window", "list", "-A", "-o", "wide", cluster=Cluster(manifest(windows=[EVENINGS]))
    )
    head, row = ran.out.splitlines()
    assert (head.split()[0], head.split()[-1]) == ("NAMESPACE", "WHEN")
    assert row.startswith("demo")
    assert row.endswith("`0 18 * * 1-5` for 1h30m Asia/Tokyo, next 18:00")


def test_a_pool_without_windows_is_answered_with_how_to_add_one():
    ran = demo_mode("window", "list", cluster=Cluster(manifest()))
    assert ran.out == "No windows; add one with `kubectl demo-mode window add`.\n"


def test_a_parked_window_is_added_and_listed_with_its_price():
    cluster = Cluster(manifest())
    ran = demo_mode(*ADD, "--parked", cluster=cluster)
    assert (ran.code, ran.err) == (0, "")
    assert cluster.windows("voice") == [PITCH | {"mode": "Parked"}]
    listed = demo_mode("window", "list", cluster=cluster).out.splitlines()[1].split()
    assert listed[:5] == ["voice", "final-pitch", "5", "parked", "10:00"]
    assert listed[listed.index("2h") + 1 :][:2] == ["2.51", "JPY"]
    (entry,) = demo_mode("window", "list", "-o", "json", cluster=cluster).json
    assert (entry["mode"], entry["cost"]) == ("Parked", 2.5125)
