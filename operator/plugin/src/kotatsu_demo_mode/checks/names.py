"""The workload of a command line: `deployment/web`, `rollout.argoproj.io/web`, or a pool."""

from dataclasses import dataclass
from urllib.parse import quote

from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_operator.core.pool.spec import KNATIVE

_BUILT_IN = {
    "Deployment": ("apps/v1", ("deployment", "deployments", "deploy", "deployment.apps")),
    "StatefulSet": ("apps/v1", ("statefulset", "statefulsets", "sts", "statefulset.apps")),
    KNATIVE: ("serving.knative.dev/v1", ("ksvc", "service.serving.knative.dev")),
    "WarmPool": ("kotatsu.dev/v1alpha1", ("warmpool", "warmpools", "wp", "warmpool.kotatsu.dev")),
}
_BY_NAME = {name: kind for kind, (_, names) in _BUILT_IN.items() for name in names}


@dataclass(frozen=True)
class Named:
    """A workload, as the command line names it."""

    kind: str
    name: str
    api_version: str
    """Group and version; only the group of a kind that the plugin does not know."""

    @property
    def is_known(self) -> bool:
        """Whether the plugin knows its kind; else the API server is asked for it."""
        return self.kind in _BUILT_IN

    def __str__(self) -> str:
        group = self.api_version.rpartition("/")[0] or self.api_version
        return f"{self.kind.lower()}.{group}/{self.name}"


def named(text: str) -> Named:
    """Read TYPE/NAME; a name alone is a Deployment's. Raises DemoModeError."""
    word, slash, name = text.partition("/")
    if not slash:
        word, name = "deployment", text
    if not name or "/" in name:
        raise DemoModeError(f"{text!r} is not a workload; write it like deployment/web")
    kind = _BY_NAME.get(word.lower())
    if kind is not None:
        return Named(kind, name, _BUILT_IN[kind][0])
    short, dot, group = word.lower().partition(".")
    if not dot:
        raise DemoModeError(
            f"{word!r} is no kind that the plugin knows; write it with its API group, like "
            f"rollout.argoproj.io/{name}"
        )
    return Named(short, name, group)


def path_of(api_version: str, plural: str, namespace: str, name: str = "") -> str:
    """The path of an object, or of the list of a namespace's objects ("": of all)."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"{root}/namespaces/{quote(namespace)}/{plural}" if namespace else f"{root}/{plural}"
    return f"{place}/{quote(name)}" if name else place
