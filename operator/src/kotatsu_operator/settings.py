"""What the operator and the activator take from their environment."""

import logging

from pydantic import Field

from kotatsu_common.settings import CommaSeparated, ServiceSettings


class OperatorSettings(ServiceSettings):
    """Settings of the operator."""

    namespaces: CommaSeparated = Field(
        min_length=1, description="namespaces whose pools are kept, comma separated"
    )
    pod_name: str = Field("kotatsu-operator", description="name of this pod, shown in events")
    starts_per_second: float = Field(
        5.0, gt=0, description="pods the cluster can start a second when many windows open together"
    )


class ActivatorSettings(ServiceSettings):
    """Settings of the activator; the first four come from the downward API."""

    namespace: str = Field(description="namespace of this pod and of the pools it serves")
    pod_name: str = Field(description="name of this pod")
    pod_uid: str = Field(description="uid of this pod: the owner of its slices")
    pod_ip: str = Field(description="address of this pod, put into its slices")
    node_name: str = Field(description="node of this pod, put into its slices")
    drain_timeout: float = Field(
        60.0, gt=0, description="seconds that held and spliced connections get after SIGTERM"
    )


def quiet_libraries() -> None:
    """Keep to ourselves what the libraries say of each request and each event."""
    for name in ("httpx", "httpx2", "httpcore", "httpcore2", "kopf.objects"):
        logging.getLogger(name).setLevel(logging.WARNING)
