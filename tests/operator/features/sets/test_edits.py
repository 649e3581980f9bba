"""An edit of a set while a namespace is settled."""

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.features.sets import feature
from kotatsu_operator.features.sets.feature import PoolSets
from kotatsu_operator.kube.errors import ApiError
from kotatsu_operator.kube.objects import WarmPool
from tests.operator.cluster import deployment, eventually, served, service, warm_pool


def pool_set(generation, name="previews", **spec):
    meta = {"name": name, "uid": name, "generation": generation, "labels": {}}
    template = {"spec": {"idleAfter": f"{generation}m", "route": "Auto"}}
    meta["creationTimestamp"] = "2030-01-01T00:00:00Z"
    return {"metadata": meta, "spec": {"namespaceSelector": {}, "template": template, **spec}}


JANUARY = datetime(2030, 1, 1, tzinfo=UTC)

OTHER = pool_set(1, "older", selector={"matchLabels": {"no": "such"}})
"""It is tried first, by its name."""


class Server:
    """What the feature asks of the API server."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict] = asyncio.Queue()
        self.before_answer: list = []
        self.calls: list[tuple] = []
        self.statuses: defaultdict[str, dict] = defaultdict(lambda: {"selected": None})
        self.refusals: list[Exception] = []
        self.specs: list[dict] = []
        """Of the pools that it has made."""

    def on_restart(self, *_):
        """A watch does not stop here."""

    async def follow(self, _kind, _scope, _keeps):
        yield "LIST", {"items": [pool_set(1), OTHER], "before": []}
        while True:
            yield "MODIFIED", await self.events.get()

    async def judged(self, _kind, obj):
        while self.before_answer:
            await self.before_answer.pop()()
        return obj

    async def find(self, _kind, _scope):
        return [pool_set(1), OTHER]

    async def offer(self, kind, obj, _manager):
        if self.refusals:
            raise self.refusals.pop()
        self.calls.append((kind, "apply", obj["spec"]["idleAfter"]))
        self.specs.append(obj["spec"])
        made = deepcopy(obj)
        made["metadata"] |= {
            "uid": f"uid-{len(self.calls)}",
            "resourceVersion": str(100 + len(self.calls)),
        }
        return made

    async def delete(self, kind, namespace, name):
        self.calls.append((kind, "delete", name))

    async def merge(self, _kind, _namespace, name, patch, **_how):
        self.statuses[name] = patch["status"]


class Listed:
    """Namespaces that are listed."""

    def use(self, _):
        return lambda: None

    def lists(self, _):
        return True


@asynccontextmanager
async def at_work(server):
    """The cache with one pool that a set has made, who is touched, and the feature."""
    cache, touched = Cache(served()), []
    cache.keep_workload("Deployment", deployment())
    cache.keep_service(service())
    made = warm_pool()
    made["metadata"]["labels"] = {"kotatsu.dev/set": "previews"}
    made["metadata"]["ownerReferences"] = [{"kind": "WarmPoolSet", "name": "previews"}]
    cache.keep_pool(made)
    feature = PoolSets(CollectorRegistry(), lambda: JANUARY)
    cache.tell(feature.observe)
    feature.observe(("demo", "voice"), made)
    watching = asyncio.create_task(feature.watch(server, Listed(), cache, touched.append))
    running = asyncio.create_task(feature.run(lambda _: None))
    yield cache, touched, feature
    for task in (watching, running):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_edit_while_the_template_of_another_set_is_tried_deletes_no_pool():
    server = Server()

    async def edit():
        server.events.put_nowait(pool_set(2))
        await asyncio.sleep(0.05)
        edited.set()

    edited = asyncio.Event()
    server.before_answer.append(edit)
    async with at_work(server):
        await edited.wait()
        await asyncio.sleep(0.05)  # what the first look was about to do
        await eventually(lambda: (WarmPool, "apply", "2m") in server.calls)
    assert [what for _, what, _ in server.calls if what == "delete"] == []


async def test_a_pool_that_a_set_has_changed_is_reconciled():
    server = Server()
    async with at_work(server) as (_, touched, _):
        await eventually(lambda: touched == [("demo", "voice")])
        server.events.put_nowait(pool_set(2))
        await eventually(lambda: touched == [("demo", "voice")] * 2)


async def test_a_namespace_that_is_being_deleted_is_not_counted_any_more(monkeypatch):
    monkeypatch.setattr(feature, "PAUSE", 0.1)
    server = Server()
    async with at_work(server) as (cache, _, _):
        await eventually(lambda: server.statuses["previews"]["selected"] == 1)
        cache.served.known["demo"] = replace(cache.served.known["demo"], is_ending=True)
        cache.forget_workload("Deployment", ("demo", "voice"))
        await eventually(lambda: server.statuses["previews"]["selected"] == 0)


async def test_a_template_that_is_forbidden_once_is_tried_again(monkeypatch):
    monkeypatch.setattr(feature, "AGAIN", 0.05)
    monkeypatch.setattr(feature, "PAUSE", 0.05)
    server, answered = Server(), asyncio.Event()

    async def forbid():
        server.before_answer += [answered.wait]
        raise ApiError(403, "exceeded quota")

    def accepted():
        found = server.statuses["older"].get("conditions", ())  # it is tried first
        return {c["type"]: c["status"] for c in found}.get("Accepted")

    server.before_answer.append(forbid)
    async with at_work(server):
        await eventually(lambda: accepted() == "Unknown")
        answered.set()
        await eventually(lambda: (WarmPool, "apply", "1m") in server.calls)
        await eventually(lambda: accepted() == "True")


async def test_a_pool_that_a_quota_forbids_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(feature, "AGAIN", 0.05)
    monkeypatch.setattr(feature, "PAUSE", 0.05)
    server = Server()
    server.refusals.append(ApiError(403, "exceeded quota"))
    async with at_work(server):
        await eventually(lambda: server.statuses["previews"].get("refusals"))
        assert server.statuses["previews"]["refusals"][0]["reason"] == "Forbidden"
        await eventually(lambda: not server.statuses["previews"].get("refusals"))
    assert len(server.specs) == 1


async def test_a_workload_that_gets_a_disk_gets_a_maximum():
    server = Server()
    async with at_work(server) as (cache, _, _):
        await eventually(lambda: server.specs)
        assert "maxReplicas" not in server.specs[-1]
        with_disk = deployment(replicas=1)
        claim = {"persistentVolumeClaim": {"claimName": "data"}}
        with_disk["spec"]["template"]["spec"] = {"volumes": [claim]}
        cache.keep_workload("Deployment", with_disk)
        await eventually(lambda: len(server.specs) > 1)
        assert server.specs[-1]["maxReplicas"] == 1
