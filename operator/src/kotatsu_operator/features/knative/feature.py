"""Knative Services as a kind of targets, beside those with a scale."""

from collections.abc import Callable, Sequence

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.controller.feature import Feature
from kotatsu_operator.controller.targets.target import Kind
from kotatsu_operator.core.pool.spec import KNATIVE
from kotatsu_operator.features.knative.objects import SERVICE_LABEL, KnativeCache
from kotatsu_operator.features.knative.target import RESTORES, KnativeTarget
from kotatsu_operator.features.knative.watch import KnativeWatch
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.runtime.settings import Runtime


class Knative(Feature):
    """The targets of one operator; `namespace` is that of Knative's ConfigMap."""

    def __init__(self, runtime: Runtime = Runtime.AUTO, namespace: str = "") -> None:
        self._runtime, self._namespace = runtime, namespace
        self.known = known = KnativeCache()
        made = Kind(
            lambda key, spec, cache: KnativeTarget(key, spec, cache, known), RESTORES, SERVICE_LABEL
        )
        self.kinds = {KNATIVE: made}

    async def watch(
        self, kube: Kube, namespaces: Sequence[str], cache: Cache, touch: Callable[[Key], None]
    ) -> None:
        where = self._runtime, self._namespace
        await KnativeWatch(kube, cache, self.known, namespaces, touch, *where).run()
