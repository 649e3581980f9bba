"""What tenants can write into the objects that the operator watches: pods, and targets of any kind.

The API server checks the types of a pod. Of a kind of the chart value `targets` it checks what that
kind's CRD says, which may be nothing.
"""

import time
from typing import Any

from fuzz.kit import SOON, WORDS, Target
from hypothesis import strategies as st

from kotatsu_operator.core.objects import selects
from kotatsu_operator.core.parked import pod_size, to_restore
from kotatsu_operator.kube.views import pod_view, starting_pods, workload_view

_META = {"name": "voice", "namespace": "demo", "uid": "u", "resourceVersion": "1", "generation": 2}


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields)


def _several(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3)


# --- pods ---

_TIMES = st.sampled_from(
    ["2026-11-25T09:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-25T09:00:01Z"]
)
_RUN = _some(startedAt=_TIMES, finishedAt=_TIMES, exitCode=st.integers(0, 255))
_STATE = _some(running=_RUN, terminated=_RUN, waiting=_some(reason=WORDS, message=WORDS))
_AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]),
    st.sampled_from(["0", "1", "250m", "1e3", "9E", "1Ki", "-1", "9" * 60]),
    max_size=3,
)
_RESOURCES = _some(requests=_AMOUNTS, limits=_AMOUNTS)
_CONTAINER = _some(
    name=st.sampled_from(["voice", "side", "x"]),
    resources=_RESOURCES,
    restartPolicy=st.sampled_from(["Always", "Never", ""]),
    ports=_several(
        st.fixed_dictionaries(
            {"containerPort": st.integers(1, 65535)},
            optional={"name": st.sampled_from(["http", "1"])},
        )
    ),
    startupProbe=_some(httpGet=_some(path=WORDS, port=WORDS)),
)
_CONTAINER_STATUS = _some(
    name=st.sampled_from(["voice", "side", "x"]),
    ready=st.booleans(),
    started=st.booleans(),
    state=_STATE,
    lastState=_STATE,
    resources=_RESOURCES,
    allocatedResources=_AMOUNTS,
)
_CONDITION = _some(
    type=st.sampled_from(
        ["Ready", "PodScheduled", "PodResizePending", "PodReadyToStartContainers"]
    ),
    status=st.sampled_from(["True", "False", "Unknown", "", "maybe"]),
    reason=st.sampled_from(["Unschedulable", "Infeasible", "Deferred", ""]),
    message=WORDS,
    lastTransitionTime=_TIMES,
)
_SPEC = _some(
    nodeName=WORDS,
    containers=_several(_CONTAINER),
    initContainers=_several(_CONTAINER),
    readinessGates=_several(st.fixed_dictionaries({"conditionType": WORDS})),
    overhead=_AMOUNTS,
    resources=_RESOURCES,
)
_STATUS = _some(
    phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", "other"]),
    podIP=st.sampled_from(["10.0.0.1", "::1", ""]),
    startTime=_TIMES,
    conditions=_several(_CONDITION),
    containerStatuses=_several(_CONTAINER_STATUS),
    initContainerStatuses=_several(_CONTAINER_STATUS),
    resources=_RESOURCES,
)


def pod(given: list[Any]) -> None:
    """Any pod is read: one that could not be would count as no pod, and be asked for nothing."""
    spec, status = given
    view = pod_view({"metadata": _META, "spec": spec, "status": status})
    assert not (view.ready and not view.running)
    size = pod_size(view.spec)
    to_restore(size, size)
    starting_pods([view])
    view.port("http")


# --- targets ---

_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ["spec", "metadata", "labels", "containers", "resources", "requests", "cpu", "app"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
_SELECTOR = st.one_of(
    _ANYTHING,
    _some(
        matchLabels=st.one_of(_ANYTHING, st.dictionaries(WORDS, WORDS, max_size=2)),
        matchExpressions=st.one_of(
            _ANYTHING,
            _several(
                _some(key=WORDS, operator=st.sampled_from(["In", "Exists", "?"]), values=_ANYTHING)
            ),
        ),
    ),
)
_TARGET = _some(
    spec=st.one_of(_ANYTHING, _some(replicas=_ANYTHING, selector=_SELECTOR, template=_ANYTHING)),
    status=st.one_of(
        _ANYTHING,
        _some(
            observedGeneration=_ANYTHING,
            replicas=_ANYTHING,
            readyReplicas=_ANYTHING,
            updatedReplicas=_ANYTHING,
            selector=WORDS,
        ),
    ),
)


def target(given: Any) -> None:
    """Any object of a further kind is read: its CRD need not have a schema."""
    began = time.process_time()
    view = workload_view({"metadata": _META, **given}, "Flock")
    assert view.replicas >= 0
    assert view.updated is None or view.updated >= 0
    selects(view.selector, {"app": "voice"})
    _ = view.requests, pod_size(view.pod)
    assert time.process_time() - began < SOON


TARGETS = [
    Target("pod", st.tuples(_SPEC, _STATUS).map(list), pod, is_door=True),
    Target("target", _TARGET, target, is_door=True),
]
