"""What is kept of Knative's objects: the fields that are used."""

import json
from itertools import product

from rows import each

from kotatsu_operator.features.knative.objects import KnativeRevision, KnativeService
from tests.operator.kube.test_fields import LARGE, ODD, used

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


@each("kind, odd", product(KINDS, ODD))
def test_an_object_that_is_none_is_cut_without_an_error(kind, odd):
    used(kind, odd)
