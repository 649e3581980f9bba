"""The fields of Knative's objects that are used, as types (see `kube.fields`)."""

import msgspec

from kotatsu_operator.core.report.record import MIN_SCALE
from kotatsu_operator.kube.fields import NONE, Condition, Field, Named, Part, Pods

SERVICE_LABEL = "serving.knative.dev/service"
"""Label of each Revision and each pod: the name of its Knative Service."""

MAX_SCALE = "autoscaling.knative.dev/max-scale"
ACTIVATION_SCALE = "autoscaling.knative.dev/activation-scale"

OLD_SPELLING = {
    MIN_SCALE: "autoscaling.knative.dev/minScale",
    MAX_SCALE: "autoscaling.knative.dev/maxScale",
}
"""Knative also reads these names; the newer name wins if both are set."""


class KnativeService(Part):
    class Spec(Part):
        class Template(Part):
            spec: Pods | None = None

        template: Template | None = None

    class Status(Part):
        class Traffic(Part):
            revisionName: Field = NONE
            percent: Field = NONE

        conditions: list[Condition] | None = None
        traffic: list[Traffic] | None = None

    metadata: Named
    spec: Spec | None = None
    status: Status | None = None


class Revision(Part):
    class Meta(Named):
        class Labels(Part):
            service: Field = msgspec.field(name=SERVICE_LABEL, default=NONE)

        class Annotations(Part):
            min: Field = msgspec.field(name=MIN_SCALE, default=NONE)
            max: Field = msgspec.field(name=MAX_SCALE, default=NONE)
            activation: Field = msgspec.field(name=ACTIVATION_SCALE, default=NONE)
            old_min: Field = msgspec.field(name=OLD_SPELLING[MIN_SCALE], default=NONE)
            old_max: Field = msgspec.field(name=OLD_SPELLING[MAX_SCALE], default=NONE)

        labels: Labels | None = None
        annotations: Annotations | None = None

    class Status(Part):
        actualReplicas: Field = NONE
        desiredReplicas: Field = NONE
        conditions: list[Condition] | None = None

    metadata: Meta
    status: Status | None = None
