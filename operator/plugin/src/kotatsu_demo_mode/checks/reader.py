"""Reads the objects around a workload, with the user's permissions and a bounded number of them.

The command line names it `deployment/web`, `rollout.argoproj.io/web`, or by a pool. A list that may
not be read is remembered with the reason: the other checks are still made.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote

from kotatsu_demo_mode.api import Api, find
from kotatsu_demo_mode.errors import DemoModeError, ForbiddenError, NotFoundError, NotServedError
from kotatsu_demo_mode.installs import pods_of, scope_of, serving
from kotatsu_demo_mode.objects import (
    Object,
    Objects,
    label_query,
    labels_of,
    name_of,
    path_of,
    spec_of,
)
from kotatsu_demo_mode.pools import pool_path
from kotatsu_operator.core.formats import table, tables, text
from kotatsu_operator.core.objects import Disk, activators_of
from kotatsu_operator.core.pool.spec import KNATIVE, Target
from kotatsu_operator.core.protocol import API_VERSION, NAME_LABEL, PROGRAM, SERVICE_LABEL

from .found import Found

_BUILT_IN = {
    "Deployment": ("apps/v1", ("deployment", "deployments", "deploy", "deployment.apps")),
    "StatefulSet": ("apps/v1", ("statefulset", "statefulsets", "sts", "statefulset.apps")),
    KNATIVE: ("serving.knative.dev/v1", ("ksvc", "service.serving.knative.dev")),
    "WarmPool": (API_VERSION, ("warmpool", "warmpools", "wp", "warmpool.kotatsu.dev")),
}
_BY_NAME = {name: kind for kind, (_, names) in _BUILT_IN.items() for name in names}


_MOST = 500
"""Objects of a kind that are read: enough for a namespace of people, and one answer's size."""
_PODS = 20
"""Pods of the workload that are read."""
_NODES = 3
_CLAIMS = 8
_CRD = path_of("apiextensions.k8s.io/v1", "customresourcedefinitions", "", "warmpools.kotatsu.dev")
_OPERATOR = f"{NAME_LABEL}={PROGRAM},app.kubernetes.io/component=operator"


@dataclass(frozen=True)
class Reader:
    """Reads from one namespace."""

    api: Api
    namespace: str

    def named(self, given: str) -> Target:
        """The workload or pool of TYPE/NAME; a name alone is a Deployment's.

        The API server is asked for a kind that the plugin does not know. Raises DemoModeError.
        """
        word, slash, name = given.partition("/")
        if not slash:
            word, name = "deployment", given
        if not name or "/" in name:
            raise DemoModeError(f"{given!r} is not a workload; write it like deployment/web")
        kind = _BY_NAME.get(word.lower())
        if kind is not None:
            return Target(_BUILT_IN[kind][0], kind, name)
        short, dot, group = word.lower().partition(".")
        if not dot:
            raise DemoModeError(
                f"{word!r} is not a known kind; write it with its API group, like "
                f"rollout.argoproj.io/{name}"
            )
        version, kind = self._kind(short, group)
        return Target(version, kind, name)

    def _kind(self, short: str, group: str) -> tuple[str, str]:
        """The version and the kind of a resource, by any of its names."""
        try:
            served = self.api.get(f"/apis/{quote(group)}")
            version = text(table(served.get("preferredVersion")).get("groupVersion"))
            resources = list(tables(self.api.get(f"/apis/{version}").get("resources")))
        except (NotFoundError, NotServedError):
            raise DemoModeError(
                f"the cluster has no API group {group}; see `kubectl api-resources`"
            ) from None
        for resource in resources:
            names = {text(resource.get("name")), text(resource.get("singularName"))}
            names |= {text(resource.get("kind")).lower(), *(resource.get("shortNames") or ())}
            if short in names and "/" not in text(resource.get("name")):
                return version, text(resource.get("kind"))
        raise DemoModeError(
            f"the API group {group} has no resource {short}; see `kubectl api-resources "
            f"--api-group={group}`"
        )

    def pools(self) -> tuple[Objects, bool]:
        """The WarmPools, and whether the cluster has their CRD."""
        try:
            found = self.api.get(pool_path(self.namespace), limit=str(_MOST))
        except NotServedError:
            return Objects(), False
        except ForbiddenError as error:
            return Objects(unread=str(error)), True
        return _objects(found), True

    def all(self, target: Target) -> Found:
        """Everything around a workload. Raises DemoModeError if the API server does not answer."""
        pools, has_api = self.pools()
        plural = f"{target.kind.lower()}s"
        workload, unread = self._get(
            path_of(target.api_version, plural, self.namespace, target.name)
        )
        found = Found(
            self.namespace,
            target,
            workload,
            unread,
            services=self._list("v1", "services"),
            autoscalers=self._list("autoscaling/v2", "horizontalpodautoscalers"),
            scaled_objects=self._list("keda.sh/v1alpha1", "scaledobjects"),
            disruption_budgets=self._list("policy/v1", "poddisruptionbudgets"),
            quotas=self._list("v1", "resourcequotas"),
            limit_ranges=self._list("v1", "limitranges"),
            pools=pools,
            activators=Objects(unread="no operator of them is known"),
            operators=self.operators(),
            crd=self._one(_CRD),
            has_api=has_api,
        )
        found = self._with_activators(found)
        selector = "" if workload is None else label_query(workload)
        if not selector:
            return found
        pods = self._list("v1", "pods", labelSelector=selector, limit=str(_PODS))
        return replace(found, pods=pods, nodes=self._nodes(pods), claims=self._claims(found.disk))

    def _claims(self, disk: Disk | None) -> Objects:
        """The volume claims that the pods share."""
        names = () if disk is None or disk.is_own else disk.claims[:_CLAIMS]
        where = "persistentvolumeclaims"
        return _all_of(self._one(path_of("v1", where, self.namespace, name)) for name in names)

    def _with_activators(self, found: Found) -> Found:
        """With the activators that serve the namespace, and what may keep them from its pods."""
        own = self.of(self.namespace)
        served_by = next(filter(None, map(activators_of, found.pools.items)), "")
        operator = serving(found.operators.items, self.namespace, labels_of(own), served_by)
        if operator:
            served_by = scope_of(operator).set_of(self.namespace)
        found = replace(found, own=own, operator=operator, served_by=served_by)
        if not served_by:
            return found
        place, query = pods_of(served_by)
        return replace(
            found,
            activators=self._read(path_of("v1", "pods", place), labelSelector=query),
            home=self.of(place),
            policies=self._list("networking.k8s.io/v1", "networkpolicies"),
        )

    def of(self, namespace: str) -> Objects:
        """A Namespace, whose labels say which install serves it."""
        return self._one(path_of("v1", "namespaces", "", namespace))

    def slices(self, service: str) -> Objects:
        return self._list(
            "discovery.k8s.io/v1", "endpointslices", labelSelector=f"{SERVICE_LABEL}={service}"
        )

    def _list(self, version: str, plural: str, **query: str) -> Objects:
        return self._read(path_of(version, plural, self.namespace), **query)

    def _read(self, path: str, **query: str) -> Objects:
        """A list; a kind that the cluster does not have is empty."""
        answer, unread = self._get(path, **{"limit": str(_MOST), **query})
        return Objects(unread=unread) if answer is None else _objects(answer)

    def _one(self, path: str) -> Objects:
        """An object that need not exist."""
        answer, unread = self._get(path)
        return Objects(unread=unread) if answer is None else Objects([answer])

    def _get(self, path: str, **query: str) -> tuple[Object | None, str]:
        """What is there, and why it may not be read; None and nothing if it does not exist."""
        try:
            return find(self.api, path, **query), ""
        except ForbiddenError as error:
            return None, str(error)

    def operators(self) -> Objects:
        """The operators of the cluster; without that permission, those of the namespace."""
        everywhere = self._read(path_of("apps/v1", "deployments", ""), labelSelector=_OPERATOR)
        if not everywhere.unread:
            return everywhere
        here = self._list("apps/v1", "deployments", labelSelector=_OPERATOR)
        return replace(everywhere, items=here.items)

    def _nodes(self, pods: Objects) -> Objects:
        given = [text(spec_of(pod).get("nodeName")) for pod in pods.items]
        names = [name for name in dict.fromkeys(given) if name][:_NODES]
        return _all_of(self._one(path_of("v1", "nodes", "", name)) for name in names)


def _all_of(read: Iterable[Objects]) -> Objects:
    """Objects that were read one by one."""
    found = list(read)
    unread = next((one.unread for one in found if one.unread), "")
    return Objects([item for one in found for item in one.items], unread)


def _objects(answer: Object) -> Objects:
    more = bool(table(answer.get("metadata")).get("continue"))
    return Objects(list(answer.get("items") or ()), has_more=more)


def pod_page(namespace: str, pod: Object, port: int, path: str) -> str:
    """The path of a pod's page through the API server's proxy."""
    return f"{path_of('v1', 'pods', namespace, f'{name_of(pod)}:{port}')}/proxy{path}"
