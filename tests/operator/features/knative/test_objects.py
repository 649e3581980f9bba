"""What is kept of Knative's objects: the fields that are used."""

import json

from rows import each

from kotatsu_operator.features.knative.objects import KnativeRevision, KnativeService
from tests.operator.kube.test_fields import LARGE, used

KINDS = [KnativeService, KnativeRevision]


@each("kind", KINDS)
def test_no_metadata_of_others_is_kept(kind):
    others = {"of/others": LARGE}
    meta = {"name": "voice", "annotations": others, "labels": others, "finalizers": [LARGE],
            "managedFields": [{"manager": "kubectl", "fieldsV1": others}]}  # fmt: skip
    conditions = [{"type": "Ready", "status": "True", "x": LARGE}]
    status = {"of others": LARGE, "conditions": conditions}
    kept = used(kind, {"metadata": meta, "spec": {}, "status": status})
    assert kept["metadata"]["name"] == "voice"
    assert len(json.dumps(kept)) < 2000
