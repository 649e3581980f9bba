"""Settings of the operator, the activator and the Jobs, read from the environment."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from kotatsu_common import logs
from kotatsu_common.settings import CommaSeparated, ServiceSettings, command
from kotatsu_operator.core.budget.prices import parse_table
from kotatsu_operator.core.formats import parse_duration, quantity
from kotatsu_operator.core.pool.spec import (
    BUILT_IN,
    KNATIVE,
    NO_PRICES,
    PLATFORM,
    Prices,
    ScaledKind,
)
from kotatsu_operator.core.scope import read_selector


def _read_prices(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        # Numbers stay text: a binary fraction cannot represent every decimal price.
        raw = json.loads(value, parse_float=str)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError('write it like {"currency": "JPY", "cpuHour": "6.5"}')
    return parse_table(raw)


def _read_quantity(value: object) -> object:
    read = quantity(value) if isinstance(value, str) else value
    if read is None:
        raise ValueError(f"{value!r}: write it like 5m or 0.01")
    return read


_TARGET = re.compile(
    r"^(?P<api_version>[a-z0-9.-]{1,253}/[a-z0-9]{1,63})/(?P<kind>[A-Z][A-Za-z0-9]{0,62})"
    r"/(?P<plural>[a-z][a-z0-9]{0,62})"
)


def _read_targets(value: object) -> object:
    """The further kinds of targets, from `argoproj.io/v1alpha1/Rollout/rollouts,…`."""
    if not isinstance(value, str):
        return value
    found: dict[str, ScaledKind] = dict(BUILT_IN)
    for text in filter(None, map(str.strip, value.split(","))):
        match = _TARGET.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{text!r}: write each kind like argoproj.io/v1alpha1/Rollout/rollouts"
            )
        kind = ScaledKind(**match.groupdict())
        if kind.kind == KNATIVE or kind.kind in found:
            raise ValueError(f"{text!r}: there is already a kind {kind.kind}")
        found[kind.kind] = kind
    return found


S = TypeVar("S", bound=ServiceSettings)

Targets = Annotated[dict[str, ScaledKind], BeforeValidator(_read_targets)]
"""Kinds of targets with a scale subresource, by kind."""


def _read_duration(value: object) -> object:
    return parse_duration(value).total_seconds() if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_read_duration)]
"""Seconds, given as a duration like 90s."""


class _ClusterSettings(ServiceSettings):
    route_settle: Seconds = Field(
        5.0,
        ge=0,
        le=600,
        description="time in which a change of endpoints reaches the kube-proxy of every node",
    )
    targets: Targets = Field(
        dict(BUILT_IN),
        description="kinds of targets besides Deployments and StatefulSets, comma separated, each "
        "as apiVersion/kind/resource",
    )
    namespace_memory: int = Field(
        50,
        ge=1,
        le=100,
        description="percent of the memory for objects that those of one namespace may need",
    )


PriceTable = Annotated[Prices, BeforeValidator(_read_prices)]
"""A price table, given as JSON."""


class Runtime(StrEnum):
    """The kinds of targets that an operator manages."""

    AUTO = "auto"
    NATIVE = "native"
    KNATIVE = "knative"


def _read_selector(value: object) -> object:
    return read_selector(value) if isinstance(value, str) else value


class OperatorSettings(_ClusterSettings):
    """Settings of the operator."""

    serve_unlabeled: bool = Field(
        True,
        description="whether to serve namespaces without the label kotatsu.dev/install, beside "
        "those whose label is the namespace of this pod",
    )
    namespace_selector: Annotated[Mapping[str, Any], BeforeValidator(_read_selector)] = Field(
        {},
        description="label selector of the namespaces without the label to serve, as JSON; {}: "
        "all of them",
    )
    shards: int = Field(
        1, ge=1, le=100, description="Deployments of activators that namespaces share"
    )
    own: CommaSeparated = Field(
        (), description="namespaces with activators of their own, comma separated"
    )
    pod_name: str = Field(
        "kotatsu-operator", description="name of this pod, for the Lease and for events"
    )
    pod_namespace: str = Field(description="namespace of this pod and of the Lease")
    memory: int = Field(
        768 * 2**20, gt=0, description="bytes of memory that this process may use: its limit"
    )
    starts_per_second: float = Field(
        5.0,
        gt=0,
        description="pods per second that the cluster can start when many windows open together",
    )
    first_start: Seconds = Field(
        60.0,
        gt=0,
        le=3600,
        description="time until Ready that is assumed for a pool that has never started",
    )
    console_port: int = Field(
        0, ge=0, le=65535, description="port of the console, a read-only web page; 0: no console"
    )
    console_hosts: CommaSeparated = Field(
        (),
        description="host names that the console accepts besides localhost and IP addresses, comma "
        "separated",
    )
    runtime: Runtime = Field(
        Runtime.AUTO,
        description="kinds of targets: native (Deployments), knative (also Knative Services; an "
        "error if Knative is not installed) or auto (Knative Services if Knative is installed)",
    )
    knative_namespace: str = Field(
        "",
        description="namespace of Knative's ConfigMap config-autoscaler; empty: it is not read",
    )
    capacity_image: str = Field(
        "",
        description="image of the placeholder pods, which request nodes for windows; empty: none",
    )
    capacity_priority_class: str = Field("", description="PriorityClass of the placeholders")
    capacity_pull_images: CommaSeparated = Field(
        (), description="beginnings of images that placeholders pull, comma separated"
    )
    patch_services: bool = Field(
        True, description="whether the selectors of Services may be changed for route Activator"
    )
    mark_pods: bool = Field(
        True, description="whether the deletion cost of pods may be set before the scale is lowered"
    )
    sets: bool = Field(False, description="whether WarmPoolSets make WarmPools")
    parked: bool = Field(
        False, description="whether the requests of pods may be lowered while a pool is parked"
    )
    parked_cpu: Annotated[Decimal, BeforeValidator(_read_quantity)] = Field(
        PLATFORM.parked_cpu, gt=0, description="maximum CPU that a parked container requests"
    )
    notifications: str = Field(
        "", description="file with the receivers of notifications; empty: no notifications"
    )
    prices: PriceTable = Field(
        NO_PRICES,
        description="prices of requested resources, as JSON: currency, cpuHour, memoryGiBHour, "
        "extended",
    )
    calendars: CommaSeparated = Field(
        (), description="names of the calendars that pools may follow, comma separated"
    )
    calendar_folder: Path = Field(
        Path("/etc/kotatsu/calendars"),
        description="folder with a folder for each calendar, in which calendar.ics is the calendar "
        "or url its address",
    )


class UninstallSettings(_ClusterSettings):
    """Settings of the Job that runs before `helm uninstall`."""

    pod_namespace: str = Field(description="namespace of the operator and of its Lease")
    timeout: Seconds = Field(180.0, gt=0, description="time until the Job fails")
    override_manifests: bool = Field(
        False, description="whether to continue although manifests let Services select no pod"
    )


class SmokeSettings(ServiceSettings):
    """Settings of the pod of `helm test`."""

    shards: int = Field(1, ge=1, le=100, description="shards of the activators")
    own: CommaSeparated = Field(
        (), description="namespaces with activators of their own, comma separated"
    )
    pod_namespace: str = Field(description="namespace of the operator and of its Lease")
    timeout: Seconds = Field(60.0, gt=0, description="time until it gives up")


class ActivatorSettings(_ClusterSettings):
    """Settings of the activator.

    `namespace`, `pod_name`, `pod_uid` and `pod_ips` come from the downward API.
    """

    namespace: str = Field(description="namespace of this pod")
    activators: str = Field(
        pattern=r"^[a-z0-9-]+/([0-9]{1,3}|own/[a-z0-9-]+)$",
        description="set of this activator: HOME/SHARD, or HOME/own/NAMESPACE of one that serves "
        "its own namespace alone; HOME is the namespace of the release",
    )
    pod_name: str = Field(description="name of this pod")
    pod_uid: str = Field(description="uid of this pod: the owner of its slices")
    pod_ips: CommaSeparated = Field(
        min_length=1, description="addresses of this pod for its slices, one per family"
    )
    node_name: str = Field(description="node of this pod, for its slices")
    memory: int = Field(
        256 * 2**20, gt=0, description="bytes of memory that this process may use: its limit"
    )
    max_held: int = Field(
        1000, ge=1, le=100_000, description="connections held for one pool; further ones get 503"
    )
    drain_timeout: Seconds = Field(
        60.0, gt=0, description="time for held and joined connections to end after SIGTERM"
    )


def start(settings: type[S], program: str, description: str) -> S:
    """Read a program's settings and configure its log. Ends the process if they are invalid."""
    read = command(settings, program, description)
    logs.configure(read.log_level)
    return read
