"""The platform under Argo CD: each sync, and the deletion of its Application."""

from chart import argo_cd
from chart.kit import CHARTS, Object, Rendered, annotations, containers, kind_of, render

OWN = CHARTS / "kotatsu/ci/own-activators.yaml"
CURRENT, BEFORE_PRE_DELETE, BEFORE_POST_DELETE = (3, 5), (3, 2), (2, 9)


def application() -> list[Object]:
    """What Argo CD renders: `helm template --include-crds`, tests included."""
    return render("kotatsu", OWN, "--include-crds").objects


def of(tasks: list[argo_cd.Task]) -> list[Object]:
    return [task.obj for task in tasks]


def test_a_sync_runs_no_hook() -> None:
    """So the first one does not need the CRD, and each later one has nothing to wait for."""
    tasks = argo_cd.sync(application())

    assert {task.phase for task in tasks} == {"Sync"}
    assert not [task for task in tasks if argo_cd.HELM_HOOK in annotations(task.obj)]


def test_every_sync_applies_the_crds_before_anything_that_reads_them() -> None:
    kinds = [obj["kind"] for obj in of(argo_cd.sync(application()))]

    crds = [n for n, kind in enumerate(kinds) if kind == "CustomResourceDefinition"]
    assert crds
    assert max(crds) < min(n for n, kind in enumerate(kinds) if kind in ("Deployment", "Role"))


def test_only_hooks_are_left_out_of_a_sync() -> None:
    objects = application()
    applied = [id(obj) for obj in of(argo_cd.sync(objects))]
    left = [obj for obj in objects if id(obj) not in applied]

    assert left
    assert all(argo_cd.HELM_HOOK in annotations(obj) for obj in left)
    assert {annotations(obj).get(argo_cd.HOOK, "test") for obj in left} <= {
        "Skip", "PostDelete", "test",
    }  # fmt: skip


def test_no_crd_is_ever_pruned() -> None:
    crds = [obj for obj in application() if obj["kind"] == "CustomResourceDefinition"]

    assert crds
    assert {annotations(crd)[argo_cd.OPTIONS] for crd in crds} == {"Prune=false"}


def test_a_deletion_first_restores_what_sleeps() -> None:
    hooks = argo_cd.before_deletion(application(), CURRENT)

    assert_complete(hooks)
    assert argo_cd.after_deletion(application(), CURRENT) == []


def test_an_older_argo_cd_restores_what_sleeps_after_the_deletion() -> None:
    hooks = argo_cd.after_deletion(application(), BEFORE_PRE_DELETE)

    assert_complete(hooks)
    assert argo_cd.before_deletion(application(), BEFORE_PRE_DELETE) == []


def test_a_very_old_argo_cd_restores_nothing_and_the_page_says_so() -> None:
    assert argo_cd.after_deletion(application(), BEFORE_POST_DELETE) == []
    page = (CHARTS.parent / "docs/how-to/gitops.md").read_text()
    assert "Argo CD before 2.12" in page


def test_what_a_deletion_makes_is_gone_when_it_has_succeeded() -> None:
    """Passive objects too: none of them has to outlive the Job."""
    for obj in argo_cd.before_deletion(application(), CURRENT):
        assert argo_cd.delete_policies(obj) == ["BeforeHookCreation", "HookSucceeded"]


def test_the_job_of_a_deletion_may_start_before_its_permissions_are_there() -> None:
    """Argo CD creates all hooks of a deletion at once: the Job waits for its Roles itself."""
    [job] = [o for o in argo_cd.before_deletion(application(), CURRENT) if o["kind"] == "Job"]

    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] > 180


def test_the_rules_are_those_of_argo_cds_engine() -> None:
    """Each row is what the engine itself answered."""
    for noted, told in ENGINE:
        obj: Object = {"kind": "Job", "metadata": {"name": "x", "annotations": noted}}
        said = argo_cd.phases(obj), argo_cd.wave(obj), argo_cd.delete_policies(obj)
        assert said == told, noted


ENGINE: list[tuple[dict[str, str], tuple[list[str], int, list[str]]]] = [
    ({}, (["Sync"], 0, ["BeforeHookCreation"])),
    ({"helm.sh/hook": "pre-install"}, (["PreSync"], 0, ["BeforeHookCreation"])),
    (
        {"helm.sh/hook": "pre-upgrade,post-upgrade", "helm.sh/hook-weight": "-2"},
        (["PreSync", "PostSync"], -2, ["BeforeHookCreation"]),
    ),
    (
        {"helm.sh/hook": "pre-delete", "helm.sh/hook-delete-policy": "hook-succeeded"},
        ([], 0, ["HookSucceeded"]),
    ),
    ({"helm.sh/hook": "test"}, ([], 0, ["BeforeHookCreation"])),
    ({"helm.sh/hook": "pre-upgrade", argo_cd.HOOK: "Skip"}, ([], 0, ["BeforeHookCreation"])),
    ({"helm.sh/hook": "pre-delete", argo_cd.HOOK: "PostDelete"}, ([], 0, ["BeforeHookCreation"])),
    (
        {"helm.sh/hook-weight": "-1", "argocd.argoproj.io/sync-wave": "3"},
        (["Sync"], 3, ["BeforeHookCreation"]),
    ),
]


def assert_complete(hooks: list[Object]) -> None:
    """The hooks hold the Job and all that it refers to: nothing else of the release may be left."""
    rendered = Rendered(hooks)
    [job] = rendered.of("Job")
    spec = job["spec"]["template"]["spec"]
    account = {
        "kind": "ServiceAccount",
        "name": spec["serviceAccountName"],
        "namespace": job["metadata"]["namespace"],
    }
    assert rendered.one("ServiceAccount", account["name"])
    bindings = rendered.of("RoleBinding", "ClusterRoleBinding")
    assert len(bindings) == 3
    for binding in bindings:
        assert binding["subjects"] == [account]
        assert rendered.one(binding["roleRef"]["kind"], binding["roleRef"]["name"])
    assert not [v for v in spec["volumes"] if "configMap" in v or "secret" in v]
    assert not [e for c in containers(job["spec"]["template"]) for e in c["env"] if "Ref" in str(e)
                and "fieldRef" not in str(e)]  # fmt: skip
    assert {kind_of(obj) for obj in hooks} == {
        "Job", "NetworkPolicy", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
        "ServiceAccount",
    }  # fmt: skip
