"""Selectors, ports and owners in the objects of Kubernetes, as plain values.

Operator, activator and the kubectl plugin read them alike.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import (
    conditions_of,
    count,
    instant,
    internal,
    lasting,
    table,
    tables,
    text,
)
from kotatsu_operator.core.protocol import ACTIVATOR, OPERATOR, ROUTE_LABEL, SET_KIND, SET_LABEL

Object = Mapping[str, Any]
"""An object of the API server, as JSON."""


def named_target(pool: Object) -> tuple[str, str]:
    """The kind and name of the target that a pool's spec names."""
    target = pool["spec"]["targetRef"]
    return target.get("kind", "Deployment"), target["name"]


def target_of(pool: Object) -> tuple[str, str]:
    """The kind and name of the target that a pool has: until it is given back, as in its status."""
    had = table(internal(pool.get("status")).get("target"))
    kind, name = text(had.get("kind")), text(had.get("name"))
    return (kind, name) if kind and name else named_target(pool)


def is_retargeted(pool: Object) -> bool:
    """Whether a pool has another target than its spec names."""
    return target_of(pool) != named_target(pool)


def service_of(pool: Object) -> str:
    """The name of the Service that a pool wakes; not for Knative Services."""
    return str(pool["spec"].get("service") or target_of(pool)[1])


def activators_of(pool: Object) -> str:
    """The set of activators that serves a pool (see `protocol.set_of_pod`); empty: none yet."""
    return text(internal(pool.get("status")).get("activators"))


def selector_view(selector: Mapping[str, Any]) -> Mapping[str, Any]:
    """A label selector whose values are sets: an expression can have thousands of values."""
    terms = [
        term | {"values": frozenset(term.get("values") or ())}
        for term in selector.get("matchExpressions") or ()
    ]
    return {**selector, "matchExpressions": terms} if terms else selector


def workload_selector(obj: Object) -> Mapping[str, Any]:
    """The label selector of a workload's pods; empty if it names none.

    `spec.selector`, or the text in its status that its scale shows (`a=b,c=d`).
    """
    given = table(table(obj.get("spec")).get("selector"))
    if given.keys() & {"matchLabels", "matchExpressions"}:
        return selector_view(given) if is_selector(given) else {}
    status = table(obj.get("status"))
    shown = status.get("selector") or status.get("labelSelector")
    terms = [_EQUAL.fullmatch(term) for term in shown.split(",")] if isinstance(shown, str) else []
    labels = {term[1]: term[2] for term in terms if term is not None}
    return {"matchLabels": labels} if labels and len(labels) == len(terms) else {}


def is_selector(given: Mapping[str, Any]) -> bool:
    """Whether a label selector is well-formed: the CRD of a further kind need not say so."""
    terms = given.get("matchExpressions") or []
    if not _is_labels(given.get("matchLabels") or {}) or not isinstance(terms, list):
        return False
    return all(
        isinstance(term, Mapping)
        and isinstance(term.get("key"), str)
        and term.get("operator") in _OPERATORS
        and isinstance(values := term.get("values") or [], list)
        and all(isinstance(value, str) for value in values)
        for term in terms
    )


def _is_labels(given: Any) -> bool:
    return isinstance(given, Mapping) and all(isinstance(v, str) for v in given.values())


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")

_EQUAL = re.compile(r"^\s*([A-Za-z0-9._/-]{1,317})\s*==?\s*([A-Za-z0-9._-]{0,63})\s*")
"""One term of a selector in text form that asks for a value."""


def pod_labels(workload: Object) -> Mapping[str, str]:
    """The labels of a workload's pods.

    Without a template of its own, they have at least the labels that it selects.
    """
    template = table(table(workload.get("spec")).get("template"))
    labels = table(template.get("metadata")).get("labels")
    return (
        (labels if _is_labels(labels) else {})
        or workload_selector(workload).get("matchLabels")
        or {}
    )


def deletes_claims(workload: Object) -> bool:
    """Whether a StatefulSet deletes the volume claims of the pods that it scales down."""
    policy = table(table(workload.get("spec")).get("persistentVolumeClaimRetentionPolicy"))
    return bool(policy.get("whenScaled") == "Delete")


@dataclass(frozen=True)
class Disk:
    """The volume claims of a workload's pods."""

    claims: tuple[str, ...]
    is_own: bool = False
    """Whether each pod gets claims of its own, by the volumeClaimTemplates of a StatefulSet."""
    for_one: bool | None = None
    """Whether only one pod, or the pods of one node, may have them; None if that was not read."""

    @property
    def why(self) -> str:
        """Why another pod may do harm, in words that follow the workload."""
        names = ", ".join(self.claims)
        if self.is_own:
            return f"gives each pod a disk of its own ({names}), so a further pod begins empty"
        if self.for_one:
            return f"has a volume claim for one node ({names}), and its pods would share one disk"
        return f"has a volume claim ({names}), which may be for one pod only"


def disk_of(workload: Object) -> Disk | None:
    """The volume claims that a workload's pods write to; None without any."""
    spec = table(workload.get("spec"))
    own = tuple(_name(of) for of in tables(spec.get("volumeClaimTemplates")))
    if own:
        return Disk(own, is_own=True, for_one=True)
    volumes = tables(table(table(spec.get("template")).get("spec")).get("volumes"))
    given = (table(of.get("persistentVolumeClaim")) for of in volumes)
    claims = tuple(text(of.get("claimName")) for of in given if of and not of.get("readOnly"))
    return Disk(claims) if claims else None


def _name(obj: Object) -> str:
    return text(table(obj.get("metadata")).get("name"))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels and matchExpressions) matches."""
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        value, wanted = labels.get(term["key"]), term.get("values") or ()
        matches = {
            "In": value in wanted,
            "NotIn": value not in wanted,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[term["operator"]]
        if not matches:
            return False
    return True


def service_selector(service: Object) -> dict[str, str]:
    """The labels of a Service's pods, without the term of route Activator; empty for none."""
    given = (service.get("spec") or {}).get("selector") or {}
    return {label: value for label, value in given.items() if label != ROUTE_LABEL}


_REVISION = "rollouts-pod-template-hash"
"""Argo Rollouts sets this label on its pods, and adds it to the selector of the Services that a
strategy names (activeService, stableService and others). The pod template does not have it."""


def serves(selector: Mapping[str, str], template: Mapping[str, str]) -> bool:
    """Whether a Service with this selector leads to pods of a template with these labels."""
    named = {k: v for k, v in selector.items() if k not in (_REVISION, ROUTE_LABEL)}
    return selects({"matchLabels": named}, template)


SERVER_FIRST = "kotatsu.dev/server-first"
"""The `appProtocol` by which a Service says that the server of a port speaks first."""

_SERVER_FIRST = {
    "ftp": 21, "smtp": 25, "submission": 587, "pop3": 110, "nntp": 119, "imap": 143, "mysql": 3306,
    "rfb": 5900,
}  # fmt: skip
"""Protocols whose client waits for the server's first bytes, by IANA's name, and their ports. Not
SSH: both sides begin (RFC 4253)."""

_SAYS_NOTHING = ("", "tcp")


def names_protocol(port: Mapping[str, Any]) -> bool:
    """Whether the `appProtocol` of a Service's port says what is spoken on it."""
    return _protocol(port) not in _SAYS_NOTHING


def _protocol(port: Mapping[str, Any]) -> str:
    return str(port.get("appProtocol") or "").lower()


def speaks_first(port: Mapping[str, Any]) -> str:
    """The protocol of a Service's port if its server speaks first; else empty.

    `appProtocol` says so. Without it, the name of the port (`mysql`, `tcp-mysql`) or its number
    does, or those of the target port.
    """
    if names_protocol(port):
        said = _protocol(port)
        return said if said == SERVER_FIRST or said in _SERVER_FIRST else ""
    for given in (port.get("name"), port.get("targetPort"), port.get("port")):
        name = str(given).removeprefix("tcp-")
        for protocol, number in _SERVER_FIRST.items():
            if name == protocol or given == number:
                return protocol
    return ""


def server_first_ports(service: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The TCP ports of a Service whose server speaks first."""
    ports = tables(table(service.get("spec")).get("ports"))
    return [p for p in ports if p.get("protocol", "TCP") == "TCP" and speaks_first(p)]


def port_text(port: Mapping[str, Any]) -> str:
    """A port whose server speaks first, in words."""
    protocol = speaks_first(port)
    return f"{port.get('port')}" + (f" ({protocol})" if protocol != SERVER_FIRST else "")


_NUMBER = re.compile(r"[0-9]{1,9}")


def port_number(ports: Mapping[str, int], wanted: str | int) -> int | None:
    """The number of a port given by name or number; None for an unknown name.

    A spec may contain any text: some digits are not decimal (²), and numbers can be too long.
    """
    if isinstance(wanted, int) or _NUMBER.fullmatch(wanted):
        return int(wanted)
    return ports.get(wanted)


# --- pods that do not start ---

_QUOTED = 200
"""Characters of the kubelet's or the runtime's message that are repeated."""

_REJECTED = 400
"""Characters of the API server's message about a rejected pod that are repeated: it names the pod
and the policy before the reason."""

_FAILING = frozenset({
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull",
    "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
    "PostStartHookError", "RegistryUnavailable", "RunContainerError", "SignatureValidationFailed",
})  # fmt: skip
"""Why a container waits that only a change of its template, or of what it names, helps."""


_MAY_END = timedelta(seconds=40)
"""A crash loop may end by itself while the kubelet waits less than this before the next start. It
waits 10 s, and twice as long each time, up to 5 minutes: an app that only waits for another one,
and crashes meanwhile, has been started four times by then."""

_HAD_STARTED = timedelta(seconds=60)
"""A container that was Ready and ran for so long had started. Its crash is a first one, however
long the kubelet waits for the ones before."""

_BACK_OFF = re.compile(r"back-off (\S+) ")


def why_not_started(status: Mapping[str, Any]) -> str:
    """Why a container of a pod cannot start, with the kubelet's words; empty if all may yet.

    Of a crash loop it is how the container ended: the kubelet says only how long it waits.
    """
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in tables(status.get(kind)):
            waits = table(table(container.get("state")).get("waiting"))
            if waits.get("reason") in _FAILING:
                said = text(waits.get("message"))
                if waits["reason"] == "CrashLoopBackOff":
                    if _may_end(said, container, status):
                        continue
                    said = _last_end(container) or said
                why = f" ({said[:_QUOTED]})" if said else ""
                return f"container {text(container.get('name'))}: {waits['reason']}{why}"
    return ""


def _may_end(said: str, container: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether a crash loop of a pod may end by itself; `said` is the kubelet's message."""
    back_off = _BACK_OFF.match(said)
    if back_off is not None and lasting(back_off[1], _MAY_END) < _MAY_END:
        return True
    run = _last_run(container)
    began, ended = instant(run.get("startedAt")), instant(run.get("finishedAt"))
    unready = instant(conditions_of(status).get("Ready", {}).get("lastTransitionTime"))
    if began is None or ended is None or unready is None:
        return False
    return unready >= began and ended - began >= _HAD_STARTED


def _last_run(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(table(container.get("lastState")).get("terminated"))


def _last_end(container: Mapping[str, Any]) -> str:
    """How a container ended last, in words."""
    ended = _last_run(container)
    if not ended:
        return ""
    why = text(ended.get("message")).strip() or text(ended.get("reason"))
    return f"exit code {ended.get('exitCode')}{f': {why}' if why else ''}"


def why_not_created(status: Mapping[str, Any]) -> str:
    """Why a workload's pods are rejected, in the API server's words; empty if they are not.

    By a quota, by Pod Security, or by an admission webhook: only a Deployment's status has it.
    """
    failure = conditions_of(status).get("ReplicaFailure", {})
    if failure.get("status") != "True":
        return ""
    return f"no pod can be created: {text(failure.get('message'))[:_REJECTED]}"


def why_unschedulable(status: Mapping[str, Any]) -> str:
    """Why the scheduler finds no node for a pod; empty if it has one, or was not looked for yet."""
    scheduled = conditions_of(status).get("PodScheduled", {})
    if scheduled.get("reason") != "Unschedulable" or scheduled.get("status") == "True":
        return ""
    return text(scheduled.get("message"), "no reason given")


# --- the containers of a pod ---


def container_ports(spec: Mapping[str, Any]) -> Mapping[str, int]:
    """The ports of a PodSpec's containers and sidecars by name; by number if they have none."""
    sidecars = filter(is_sidecar, tables(spec.get("initContainers")))
    ports: dict[str, int] = {}
    for container in (*tables(spec.get("containers")), *sidecars):
        for port in tables(container.get("ports")):
            number = count(port.get("containerPort"))
            ports.setdefault(text(port.get("name")) or str(number), number)
    return ports


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container keeps running beside the containers."""
    return bool(container.get("restartPolicy") == "Always")


INFEASIBLE = "Infeasible"
"""The kubelet's reason for a resize that this node can never do."""


def resize_pending(status: Mapping[str, Any]) -> tuple[str, str]:
    """Why the kubelet has not begun with a resize of a pod: Deferred or Infeasible; or empty.

    And the same for people, with the kubelet's message.
    """
    waiting = conditions_of(status).get("PodResizePending", {})
    reason, message = text(waiting.get("reason")), text(waiting.get("message"))
    return reason, f"{reason}: {message[:_QUOTED]}" if reason and message else reason


def is_resizable(status: Mapping[str, Any]) -> bool:
    """Whether the node of a pod can resize it, as the API server decides it.

    Kubelets before 1.33 do not report the resources of a running container.
    """
    statuses = tables(status.get("containerStatuses"))
    running = (c for c in statuses if "running" in table(c.get("state")))
    return next(("resources" in c for c in running), True)


# --- the owners of fields ---


@dataclass(frozen=True)
class Owner:
    """A manager that owns a field, and when the fields of its entry last changed."""

    manager: str
    applies: bool
    """Whether it owns the field by server-side apply: its manifest will be applied again."""
    at: datetime | None


def owners(obj: Object, field: str) -> list[Owner]:
    """The managers that own one field of an object's spec."""
    return [
        Owner(
            entry.get("manager", ""), entry.get("operation") == "Apply", instant(entry.get("time"))
        )
        for entry in obj["metadata"].get("managedFields") or ()
        if f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]


def poolset_of(pool: Object) -> str:
    """The WarmPoolSet that made a WarmPool and owns it; empty if none does."""
    meta = table(pool.get("metadata"))
    name = text(table(meta.get("labels")).get(SET_LABEL))
    owners = ((of.get("kind"), of.get("name")) for of in tables(meta.get("ownerReferences")))
    return name if name and (SET_KIND, name) in owners else ""


def controller_of(meta: Mapping[str, Any]) -> str:
    """The object whose controller made one with this metadata, as KIND NAME; empty for none."""
    return " ".join(_controller(meta, "kind", "name")).strip()


def owner_in(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and uid of the object whose controller made one with this metadata; empty for none."""
    kind, uid = _controller(meta, "kind", "uid")
    return kind, uid


def _controller(meta: Mapping[str, Any], *fields: str) -> list[str]:
    of = (owner for owner in tables(meta.get("ownerReferences")) if owner.get("controller"))
    found = next(of, {})
    return [text(found.get(name)) for name in fields]


@dataclass(frozen=True)
class Write:
    """A write of spec.replicas by one field manager."""

    by: str
    at: datetime | None
    applied: bool = False
    """True for server-side apply."""


_FRIENDS = frozenset({OPERATOR, ACTIVATOR, "kube-controller-manager"})
"""Kotatsu's own managers, and that of the HPA controller, which may scale the target too."""


def foreign_write(workload: Object) -> Write | None:
    """The write of `replicas` by another manager that owns the field; None if there is none.

    A manager that writes another value takes over the field. So another owner has written after
    Kotatsu, or before Kotatsu's first write.
    """
    found = [o for o in owners(workload, "replicas") if o.manager not in _FRIENDS]
    if not found:
        return None
    # A manager that applies will apply again, so it comes first; among equals the newest does.
    owner = max(found, key=lambda o: (o.applies, str(o.at)))
    return Write(owner.manager, owner.at, applied=owner.applies)


@dataclass(frozen=True)
class Autoscaler:
    """The current state of an HPA."""

    name: str
    min_replicas: int
    max_replicas: int
    ours: bool = False
    """Whether the operator made the last write of minReplicas."""
    version: str = ""
    """The resourceVersion that was read; a write must name it."""


def read_autoscaler(autoscaler: Object) -> Autoscaler:
    """Read a HorizontalPodAutoscaler (`minReplicas` defaults to 1)."""
    spec = autoscaler["spec"]
    return Autoscaler(
        name=autoscaler["metadata"]["name"],
        min_replicas=spec.get("minReplicas", 1),
        max_replicas=spec["maxReplicas"],
        ours=any(o.manager == OPERATOR for o in owners(autoscaler, "minReplicas")),
        version=autoscaler["metadata"]["resourceVersion"],
    )
