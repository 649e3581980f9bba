"""The estimate of what a namespace retains, against what Python has allocated for it."""

import gc
import json
import logging
import random
import time
import tracemalloc

import pytest

from kotatsu_operator.activator import namespace
from kotatsu_operator.activator.namespace import View
from kotatsu_operator.controller import cache
from kotatsu_operator.controller.app import feeds_of, further_feeds
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.served import Served
from kotatsu_operator.core.protocol import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL
from kotatsu_operator.core.scope import Namespace, Scope
from kotatsu_operator.kube import fields
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.objects import KINDS, HorizontalPodAutoscaler, NetworkPolicy
from kotatsu_operator.kube.retained import Retained

pytestmark = pytest.mark.timeout(300)

HOUR = 3600.0
LEAST, MOST = 0.8, 2.5
"""The estimate, as a multiple of the truth."""

ENOUGH, MANY = 3_000_000, 300
"""Bytes of JSON and objects of one measurement, at least: what an empty cache needs is little."""


class Maker:
    """Makes objects of any size that the API server takes; no two are alike."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.made = 0

    def many(self, most):
        """How many of something: as often few as many."""
        return int(most ** self.rng.random())

    def text(self, most):
        return f"{self.rng.getrandbits(4 * (size := self.many(most))):0{size}x}"

    def labels(self):
        size = self.rng.choice([8, 60])
        return {self.text(size): self.text(size) for _ in range(self.many(2_000))}

    def meta(self, **more):
        self.made += 1
        name = f"{self.text(200)}-{self.made}"
        return {
            "namespace": "demo",
            "name": name,
            "uid": f"{self.rng.getrandbits(128):032x}",
            "resourceVersion": str(self.made),
            "labels": self.labels(),
            "managedFields": [{"manager": self.text(100)} for _ in range(self.many(20))],
            **more,
        }

    def containers(self):
        return [
            {
                "name": self.text(60),
                "image": self.text(200),
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                "ports": [
                    {"name": self.text(15), "containerPort": self.rng.randrange(1, 65536)}
                    for _ in range(self.many(300))
                ],
                "readinessProbe": {"httpGet": {"path": f"/{self.text(200)}", "port": 80}},
            }
            for _ in range(self.many(60))
        ]

    def selector(self):
        expressions = [
            {"key": self.text(60), "operator": "In", "values": [self.text(60) for _ in range(9)]}
            for _ in range(self.many(100))
        ]
        return {"matchLabels": self.labels(), "matchExpressions": expressions}

    def pod(self):
        containers = self.containers()
        statuses = [
            {"name": c["name"], "ready": True, "state": {"running": {"startedAt": AT}}}
            for c in containers
        ]
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": AT}
            for kind in ("PodScheduled", "Ready", self.text(60))
        ]
        return {
            "metadata": self.meta(),
            "spec": {"containers": containers, "nodeName": self.text(60)},
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "startTime": AT,
                "conditions": conditions,
                "containerStatuses": statuses,
            },
        }

    def workload(self):
        template = {
            "metadata": {"labels": self.labels()},
            "spec": {"containers": self.containers()},
        }
        spec = {"replicas": 1, "selector": self.selector(), "template": template}
        return {"metadata": self.meta(), "spec": spec}

    def service(self):
        ports = [
            {"name": self.text(60), "port": self.rng.randrange(1, 65536), "targetPort": 80}
            for _ in range(self.many(500))
        ]
        return {"metadata": self.meta(), "spec": {"selector": self.labels(), "ports": ports}}

    def slice(self):
        endpoints = [
            {
                "addresses": [f"10.1.{at // 250}.{at % 250}"],
                "conditions": {"ready": True},
                "nodeName": self.text(60),
                "targetRef": {"kind": "Pod", "name": self.text(60), "uid": self.text(36)},
            }
            for at in range(self.many(1_000))
        ]
        labels = {SERVICE_LABEL: self.text(60)}
        if self.rng.random() < 0.5:
            labels |= {MANAGED_BY_LABEL: MANAGED_BY, **self.labels()}
        meta = self.meta(labels=labels, annotations={self.text(60): self.text(20_000)})
        return {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": []}

    def autoscaler(self):
        metrics = [
            {"resource": {"name": self.text(60), "target": {"type": "Utilization"}}}
            for _ in range(self.many(200))
        ]
        target = {"kind": "Deployment", "name": self.text(60)}
        return {"metadata": self.meta(), "spec": {"scaleTargetRef": target, "metrics": metrics}}

    def policy(self):
        peers = [{"podSelector": {"matchLabels": self.labels()}} for _ in range(self.many(9))]
        spec = {
            "podSelector": self.selector(),
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"port": 80}]} for _ in range(self.many(9))],
        }
        return {"metadata": self.meta(), "spec": spec}

    def pool(self):
        windows = [
            {"name": self.text(60), "start": "0 9 * * 1", "duration": "1h", "replicas": 1}
            for _ in range(self.many(64))
        ]
        paths = [f"/{self.text(200)}" for _ in range(self.many(32))]
        target = {"kind": "Deployment", "name": self.text(60)}
        spec = {"targetRef": target, "healthCheckPaths": paths, "windows": windows}
        return {"metadata": self.meta(), "spec": spec}


FURTHER = {of.__name__: of for of in (HorizontalPodAutoscaler, NetworkPolicy)}
AT = "2026-11-25T09:00:00Z"
MADE_BY = {
    "Deployment": Maker.workload,
    "StatefulSet": Maker.workload,
    "Pod": Maker.pod,
    "EndpointSlice": Maker.slice,
    "Service": Maker.service,
    "HorizontalPodAutoscaler": Maker.autoscaler,
    "NetworkPolicy": Maker.policy,
    "WarmPool": Maker.pool,
}


def objects_of(kind, seed):
    """Objects of a kind, as JSON: as many as fill some megabytes."""
    maker, size = Maker(seed), 0
    while size < ENOUGH or maker.made < MANY:
        data = json.dumps(MADE_BY[kind](maker)).encode()
        size += len(data)
        yield data


def operators(kind, retained):
    """How the operator keeps objects of a kind."""
    served = Served(Scope("kotatsu"), {"demo": Namespace({}, is_ending=False, shares=False)})
    kept = Cache(served, retained=retained)
    if kind == "WarmPool":
        return kept.keep_pool
    feeds = {feed.name: feed for feed in (*feeds_of(kept), *further_feeds(kept))}
    return lambda obj: list(feeds[kind].steps("", "ADDED", obj))


def activators(kind, retained):
    """How an activator keeps objects of a kind."""
    return View(namespace="demo", retained=retained).on_change(kind)


def estimated(program, kind, seed):
    """The estimate, as a multiple of the truth."""
    retained = Retained()
    keep, of = program(kind, retained), {**KINDS, **FURTHER}[kind]
    data = list(objects_of(kind, seed))
    gc.collect()
    tracemalloc.start()
    try:
        fields._one.cache_clear()
        before, _ = tracemalloc.get_traced_memory()
        for one in data:
            obj = used(of, one)
            keep(obj) if program is operators else keep("ADDED", obj)
        del obj
        gc.collect()
        fields._one.cache_clear()  # the same for any number of objects
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return retained.bytes_of("demo") / (now - before)


CASES = [
    *((operators, kind) for kind in MADE_BY),
    *((activators, kind) for kind in MADE_BY if kind in KINDS),
]


@pytest.fixture(autouse=True)
def only_what_is_stored(monkeypatch):
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)  # pytest keeps records
    for module in (cache, namespace):
        monkeypatch.setattr(module, "POOL", 0)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "kind"), CASES)
def test_the_estimate_is_not_far_below_the_truth(program, kind):
    assert LEAST < estimated(program, kind, 1) < MOST


@pytest.mark.nightly
@pytest.mark.timeout(2 * HOUR)
def test_nor_is_it_in_an_hour_of_objects_of_any_size():
    began, found = time.monotonic(), {}
    while time.monotonic() - began < HOUR:
        seed = len(found)
        program, kind = CASES[seed % len(CASES)]
        found[program.__name__, kind, seed] = estimated(program, kind, seed)
    assert not {case: ratio for case, ratio in found.items() if not LEAST < ratio < MOST}
