"""The client of the operator and of its Jobs, for who gives back (`core.give_back`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kotatsu_operator.core.give_back import AUTOSCALER, POD, REVISION, SERVICE, Place
from kotatsu_operator.core.objects import selects, workload_selector
from kotatsu_operator.kube import errors, objects
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Object, ref, resource_of

_KINDS = {
    AUTOSCALER: objects.HorizontalPodAutoscaler,
    POD: objects.Pod,
    REVISION: objects.Revision,
    SERVICE: objects.Service,
}


@dataclass(frozen=True)
class Cluster:
    """Reads and writes with the permissions of Kotatsu."""

    kube: Kube
    errors = Unreachable
    conflict = ConflictError

    def is_refusal(self, error: Exception) -> bool:
        return errors.is_refusal(error)

    async def read(self, place: Place) -> Object | None:
        try:
            if place.part:
                scale = await self.kube.get_scale(place.namespace, _ref(place))
                version = {"resourceVersion": scale.version}
                return {"metadata": version, "spec": {"replicas": scale.replicas}}
            return await self.kube.get(self._kind(place), place.namespace, place.name)
        except NotFoundError:
            return None
        except Unreachable as error:
            if errors.is_missing(error):
                return None  # the cluster does not know the kind any more
            raise

    async def pods(self, workload: Mapping[str, Any]) -> list[Object]:
        selector = workload_selector(workload)
        labels = selector.get("matchLabels") or {}
        found = await self.kube.find(objects.Pod, workload["metadata"]["namespace"], labels)
        return [pod for pod in found if selects(selector, pod["metadata"].get("labels") or {})]

    async def write(self, place: Place, patch: Mapping[str, Any]) -> None:
        at, meta = (place.namespace, place.name), patch["metadata"]
        try:
            if place.part == "scale":
                replicas, version = patch["spec"]["replicas"], meta["resourceVersion"]
                await self.kube.put_scale(place.namespace, _ref(place), replicas, version)
            elif place.part == "resize":
                await self.kube.resize(at, dict(patch))
            else:
                await self.kube.merge(self._kind(place), *at, dict(patch))
        except NotFoundError as error:
            raise ConflictError(str(error)) from None

    def _kind(self, place: Place) -> Any:
        if not isinstance(place.kind, str):
            return _KINDS[place.kind]
        if place.kind not in self.kube.scaled:
            raise errors.UnreadableError(f"{place.kind} is no kind of targets")
        return resource_of(self.kube.scaled[place.kind])


def _ref(place: Place) -> str:
    return ref(str(place.kind), place.name)
