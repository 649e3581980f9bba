"""What is kept of Knative's objects: the fields that are used."""

from itertools import product

import pytest
from rows import each

from kotatsu_operator.features.knative.objects import KnativeRevision, KnativeService
from tests.operator.kube import test_fields


def empty(kind):
    return {"kind": kind, "metadata": {"namespace": "demo", "name": "voice"}, "spec": {}}


@pytest.mark.parametrize(
    ("kind", "obj"), [(KnativeService, empty("Service")), (KnativeRevision, empty("Revision"))]
)
def test_no_metadata_of_others_is_kept(kind, obj):
    test_fields.test_no_metadata_of_others_is_kept(kind, obj)


@each("kind, odd", product([KnativeService, KnativeRevision], test_fields.ODD))
def test_an_object_that_is_none_is_cut_without_an_error(kind, odd):
    test_fields.used(kind, odd)
