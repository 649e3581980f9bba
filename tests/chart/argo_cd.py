"""How Argo CD reads a chart: it renders with `helm template` and looks at annotations.

These are the rules of Argo CD's own code, gitops-engine/pkg/sync and controller/hook.go. They were
compared with the engine itself (0.7.3) for every object of the chart and for the annotations in
test_argo_cd.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chart.kit import Object, annotations

HOOK, HELM_HOOK = "argocd.argoproj.io/hook", "helm.sh/hook"
OPTIONS = "argocd.argoproj.io/sync-options"

_PHASES = ("PreSync", "Sync", "PostSync", "SyncFail")
_OF_HELM = {
    "pre-install": "PreSync",
    "pre-upgrade": "PreSync",
    "post-install": "PostSync",
    "post-upgrade": "PostSync",
}
_POLICIES = {
    "before-hook-creation": "BeforeHookCreation",
    "hook-succeeded": "HookSucceeded",
    "hook-failed": "HookFailed",
}
_KINDS = (
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "ConfigMap",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "Pod",
    "Deployment",
    "Job",
    "Ingress",
)
"""The order of kinds within a wave; all other kinds come last."""


@dataclass(frozen=True)
class Task:
    """One step of a sync."""

    phase: str
    wave: int
    obj: Object


def phases(obj: Object) -> list[str]:
    """The phases of a sync in which an object is applied; none if it never is."""
    noted = annotations(obj)
    if not {HOOK, HELM_HOOK} & noted.keys():
        return ["Sync"]
    own = [word for word in _words(obj, HOOK) if word in (*_PHASES, "Skip")]
    found = own or [_OF_HELM[word] for word in _words(obj, HELM_HOOK) if word in _OF_HELM]
    return [phase for phase in _PHASES if phase in found]


def wave(obj: Object) -> int:
    """The wave: Argo CD's annotation, else the weight of a Helm hook."""
    noted = annotations(obj)
    weight = noted.get("helm.sh/hook-weight", "0")
    return int(noted.get("argocd.argoproj.io/sync-wave", weight))


def delete_policies(obj: Object) -> list[str]:
    """When a hook is deleted."""
    words = _words(obj, "helm.sh/hook-delete-policy")
    found = [_POLICIES[word] for word in words if word in _POLICIES]
    return found or ["BeforeHookCreation"]


def sync(objects: Iterable[Object]) -> list[Task]:
    """The steps of a sync, in their order."""
    tasks = [Task(phase, wave(obj), obj) for obj in objects for phase in phases(obj)]
    return sorted(tasks, key=_order)


def before_deletion(objects: Iterable[Object], version: tuple[int, int]) -> list[Object]:
    """What is created, all at once, before an Application's objects are deleted."""
    if version < (3, 3):
        return []
    return [obj for obj in objects if _is(obj, "PreDelete", "pre-delete")]


def after_deletion(objects: Iterable[Object], version: tuple[int, int]) -> list[Object]:
    """What is created, all at once, after an Application's objects have been deleted."""
    if version < (2, 10):
        return []
    objects = list(objects)
    before = {id(obj) for obj in before_deletion(objects, version)}
    return [o for o in objects if id(o) not in before and _is(o, "PostDelete", "post-delete")]


def _is(obj: Object, hook: str, helm_hook: str) -> bool:
    """Whether one of the two annotations has exactly this value; lists came with 3.3.5."""
    noted = annotations(obj)
    return noted.get(HOOK) == hook or noted.get(HELM_HOOK) == helm_hook


def _words(obj: Object, key: str) -> list[str]:
    return [word.strip() for word in annotations(obj).get(key, "").split(",")]


def _order(task: Task) -> tuple[int, int, int, str]:
    kind = task.obj["kind"]
    rank = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
    return _PHASES.index(task.phase), task.wave, rank, task.obj["metadata"]["name"]
