"""The fields of Kubernetes objects that the programs use, as types; all others are skipped unread.

An object can have some MB of JSON, and as Python objects sixteen times as much. So nothing is made
of what no decision depends on, and what is kept of one object has a bound as a whole (decision 57).
"""

import hashlib
import logging
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, TypeVar

import msgspec

from kotatsu_operator.core.nesting import shallow
from kotatsu_operator.core.protocol import (
    BY_ANNOTATION,
    COST,
    MANAGED_BY,
    REASON_ANNOTATION,
    REHEARSAL_ANNOTATION,
    SET_HASH,
    SET_LABEL,
    SETS_ANNOTATION,
    SHARED_ANNOTATION,
)

log = logging.getLogger(__name__)

MOST_KEPT = 32 * 1024
"""Bytes of JSON that are kept of one object; Python needs up to twelve times as much for them."""

LONGEST_SHARED = 256
"""Characters of a text of which there is one string for all objects, as far as they are alike."""

Field = msgspec.Raw
"""A field with all that is in it: JSON, of which nothing is made until its size is known."""

NONE = Field()
"""A field that is absent."""


class Part(msgspec.Struct, omit_defaults=True):
    """Some fields of a JSON object."""

    @property
    def most_kept(self) -> int:
        """Bytes of JSON that are kept of it."""
        return MOST_KEPT

    def reduced(self) -> "Part":
        """The same, without what is only read here."""
        return self


P = TypeVar("P", bound=Part)
T = TypeVar("T")


class Named(Part):
    """The metadata of any object."""

    namespace: Field = NONE
    name: Field = NONE
    uid: Field = NONE
    resourceVersion: Field = NONE


class Manager(Part):
    """A manager of fields; of its fields those that the operator shares with others."""

    class Fields(Part):
        class Spec(Part):
            replicas: Field = msgspec.field(name="f:replicas", default=NONE)
            minReplicas: Field = msgspec.field(name="f:minReplicas", default=NONE)
            selector: Field = msgspec.field(name="f:selector", default=NONE)

        spec: Spec | None = msgspec.field(name="f:spec", default=None)

    manager: Field = NONE
    operation: Field = NONE
    time: Field = NONE
    fieldsV1: Fields | None = None


class Owner(Part):
    """An entry of ownerReferences."""

    apiVersion: Field = NONE
    kind: Field = NONE
    name: Field = NONE
    uid: Field = NONE
    controller: Field = NONE


class Managed(Named):
    """The metadata of an object that others write too."""

    labels: Field = NONE
    ownerReferences: list[Owner] | None = None
    managedFields: list[Manager] | None = None


class Condition(Part):
    """A condition of a status."""

    type: Field = NONE
    status: Field = NONE
    reason: Field = NONE
    message: Field = NONE
    lastTransitionTime: Field = NONE


class Port(Part):
    """A port of a container."""

    name: Field = NONE
    containerPort: Field = NONE


class Container(Part):
    """A container of a pod or a template."""

    name: Field = NONE
    startupProbe: Field = NONE
    readinessProbe: Field = NONE
    resources: Field = NONE
    restartPolicy: Field = NONE
    resizePolicy: Field = NONE
    ports: list[Port] | None = None


class Pods(Part):
    """The spec of a pod or a template."""

    overhead: Field = NONE
    resources: Field = NONE
    containers: Sequence[Container] | None = None
    initContainers: Sequence[Container] | None = None


class Namespace(Part):
    class Meta(Named):
        class Annotations(Part):
            shared: Field = msgspec.field(name=SHARED_ANNOTATION, default=NONE)
            sets: Field = msgspec.field(name=SETS_ANNOTATION, default=NONE)

        labels: Field = NONE
        deletionTimestamp: Field = NONE
        annotations: Annotations | None = None

    metadata: Meta


class WarmPool(Part):
    """Spec and status are whole: the CRD limits them."""

    class Meta(Named):
        class Annotations(Part):
            by: Field = msgspec.field(name=BY_ANNOTATION, default=NONE)
            reason: Field = msgspec.field(name=REASON_ANNOTATION, default=NONE)
            rehearsal: Field = msgspec.field(name=REHEARSAL_ANNOTATION, default=NONE)
            hash: Field = msgspec.field(name=SET_HASH, default=NONE)

        class Labels(Part):
            set: Field = msgspec.field(name=SET_LABEL, default=NONE)

        generation: Field = NONE
        creationTimestamp: Field = NONE
        deletionTimestamp: Field = NONE
        labels: Labels | None = None
        ownerReferences: list[Owner] | None = None
        annotations: Annotations | None = None

    metadata: Meta
    spec: Field = NONE
    status: Field = NONE

    @property
    def most_kept(self) -> int:
        return 2**31


class Pod(Part):
    class Meta(Named):
        class Annotations(Part):
            cost: Field = msgspec.field(name=COST, default=NONE)

        labels: Field = NONE
        deletionTimestamp: Field = NONE
        annotations: Annotations | None = None
        ownerReferences: list[Owner] | None = None

    class Spec(Pods):
        class Gate(Part):
            conditionType: Field = NONE

        nodeName: Field = NONE
        readinessGates: list[Gate] | None = None

    class Status(Part):
        class Container(Part):
            name: Field = NONE
            ready: Field = NONE
            started: Field = NONE
            state: Field = NONE
            lastState: Field = NONE
            allocatedResources: Field = NONE
            resources: Field = NONE

        phase: Field = NONE
        podIP: Field = NONE
        startTime: Field = NONE
        conditions: list[Condition] | None = None
        containerStatuses: list[Container] | None = None
        initContainerStatuses: list[Container] | None = None

    metadata: Meta
    spec: Spec | None = None
    status: Status | None = None


class Service(Part):
    class Spec(Part):
        class Port(Part):
            name: Field = NONE
            port: Field = NONE
            targetPort: Field = NONE
            protocol: Field = NONE
            appProtocol: Field = NONE

        type: Field = NONE
        clusterIP: Field = NONE
        ipFamilies: Field = NONE
        selector: Field = NONE
        ports: list[Port] | None = None

    metadata: Managed
    spec: Spec | None = None


_OURS = f'"{MANAGED_BY}"'.encode()


class EndpointSlice(Part):
    """Of up to 1,000 endpoints; an activator's has one."""

    class Meta(Named):
        labels: Field = NONE
        annotations: Field = NONE
        finalizers: Field = NONE
        deletionTimestamp: Field = NONE
        ownerReferences: list[Owner] | None = None

    class Endpoint(Part):
        class Target(Part):
            kind: Field = NONE
            namespace: Field = NONE
            name: Field = NONE
            uid: Field = NONE

        addresses: Field = NONE
        conditions: Field = NONE
        nodeName: Field = NONE
        targetRef: Target | None = None

    class Port(Part):
        name: Field = NONE
        port: Field = NONE
        protocol: Field = NONE
        appProtocol: Field = NONE

    metadata: Meta
    addressType: Field = NONE
    endpoints: list[Endpoint] | None = None
    ports: list[Port] | None = None

    @property
    def most_kept(self) -> int:
        return MOST_KEPT if _OURS in bytes(self.metadata.labels) else 16 * MOST_KEPT


class HorizontalPodAutoscaler(Part):
    class Spec(Part):
        class Target(Part):
            kind: Field = NONE
            name: Field = NONE

        class Metric(Part):
            class Resource(Part):
                class Target(Part):
                    type: Field = NONE

                name: Field = NONE
                container: Field = NONE
                target: Target | None = None

            resource: Resource | None = None
            containerResource: Resource | None = None

        minReplicas: Field = NONE
        maxReplicas: Field = NONE
        scaleTargetRef: Target | None = None
        metrics: list[Metric] | None = None

    metadata: Managed
    spec: Spec | None = None


class NetworkPolicy(Part):
    class Spec(Part):
        class Rule(Part):
            sources: Field = msgspec.field(name="from", default=NONE)
            ports: Field = NONE

        podSelector: Field = NONE
        policyTypes: Field = NONE
        ingress: list[Rule] | None = None

    metadata: Named
    spec: Spec | None = None


class Claim(Part):
    """A template of volume claims."""

    class Meta(Part):
        name: Field = NONE

    metadata: Meta | None = None


class Volume(Part):
    """A volume of a template: what kind it is of others than claims is not kept."""

    class Named(Part):
        claimName: Field = NONE
        readOnly: Field = NONE

    persistentVolumeClaim: Named | None = None


class Workload(Part):
    """A Deployment, a StatefulSet, or a further kind with a scale, whose CRD may say less of it."""

    class Meta(Managed):
        class Annotations(Part):
            sets: Field = msgspec.field(name=SETS_ANNOTATION, default=NONE)

        generation: Field = NONE
        creationTimestamp: Field = NONE
        deletionTimestamp: Field = NONE
        annotations: Annotations | None = None

    class Spec(Part):
        replicas: Field = NONE
        selector: Field = NONE
        template: Field = NONE
        persistentVolumeClaimRetentionPolicy: Field = NONE
        volumeClaimTemplates: list[Claim] | None = None

    class Status(Part):
        observedGeneration: Field = NONE
        replicas: Field = NONE
        updatedReplicas: Field = NONE
        readyReplicas: Field = NONE
        selector: Field = NONE
        labelSelector: Field = NONE
        conditions: Field = NONE

    metadata: Meta
    spec: Spec | None = None
    status: Status | None = None

    def reduced(self) -> "Workload":
        """Of the template, the fields that are used, and the mark of all of it."""
        spec = self.spec
        if spec is not None and bytes(spec.template) not in (b"", b"null"):
            mark = hashlib.sha256(spec.template).hexdigest()[:12]
            template = msgspec.json.decode(spec.template, type=Template)
            template.mark = Field(msgspec.json.encode(mark))
            spec.template = Field(msgspec.json.encode(template))
        return self


class Template(Part):
    """The pod template of a workload."""

    class Meta(Part):
        labels: Field = NONE

    class Spec(Pods):
        class Pulled(Container):
            image: Field = NONE
            imagePullPolicy: Field = NONE

        containers: Sequence[Pulled] | None = None
        initContainers: Sequence[Pulled] | None = None
        affinity: Field = NONE
        imagePullSecrets: Field = NONE
        nodeSelector: Field = NONE
        schedulerName: Field = NONE
        tolerations: Field = NONE
        volumes: Sequence[Volume] | None = None

    metadata: Meta | None = None
    spec: Spec | None = None
    mark: Field = NONE
    """Not of the API: a text that changes with any of its fields, also its annotations."""


class Anything(Part):
    """An object of any kind."""

    metadata: Named


def decoded(data: bytes, of: type[T]) -> T:
    """Read JSON of any depth. Raises msgspec.MsgspecError."""
    try:
        return msgspec.json.decode(data, type=of)
    except RecursionError:
        return msgspec.json.decode(shallow(data), type=of)


def used(kind: Any, given: bytes | Field | dict[str, Any]) -> dict[str, Any]:
    """The used fields of an object of a kind, given as JSON or as the values in it.

    Of a kind without a type they are all fields. Of an object that has more than `most_kept` bytes
    of them, or another type of value in one, only the name is left: what Kubernetes would do with
    it is then unknown, and nothing is decided on a part of it. Raises msgspec.MsgspecError for what
    is no object.
    """
    of: type[Part] | None = vars(kind).get("kept")
    if of is None and isinstance(given, dict):
        return given
    data = msgspec.json.encode(given) if isinstance(given, dict) else given
    try:
        return _used(of, data)
    except RecursionError:
        return _used(of, shallow(bytes(data)))


def _used(of: type[Part] | None, data: bytes | Field) -> dict[str, Any]:
    if of is None:
        return dict(msgspec.json.decode(data))
    try:
        part = _decoder(of).decode(data).reduced()
    except msgspec.ValidationError as error:
        return _named(of, data, str(error))
    kept = msgspec.json.encode(part)
    if len(kept) > part.most_kept:
        return _named(of, data, f"it has more than {part.most_kept // 1024} KiB of them")
    return _sharing(dict(msgspec.json.decode(kept)))


def _sharing(found: dict[str, Any]) -> dict[str, Any]:
    """The same object, whose texts are shared with others: half of what 10,000 pools take.

    Without recursion: how deep an object is, is up to whoever has written it.
    """
    rest: list[Any] = [found]
    while rest:
        part = rest.pop()
        for at, value in part.items() if isinstance(part, dict) else enumerate(part):
            if type(value) is str:
                if len(value) <= LONGEST_SHARED:
                    part[at] = _one(value)
            elif type(value) is dict or type(value) is list:
                rest.append(value)
    return found


@lru_cache(4096)
def _one(text: str) -> str:
    return text


@cache
def _decoder(of: type[P]) -> msgspec.json.Decoder[P]:
    return msgspec.json.Decoder(of)


def _named(of: type[Part], given: bytes | Field, why: str) -> dict[str, Any]:
    found = msgspec.json.decode(msgspec.json.encode(_decoder(Anything).decode(given)))
    meta = found["metadata"]
    name = f"{of.__name__} {meta.get('namespace', '')}/{meta.get('name')}"
    log.warning("%s counts as empty, because of the fields that are used: %s", name, why)
    return {**found, "spec": {}, "status": {}}
