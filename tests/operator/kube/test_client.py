"""What goes over the wire to the API server, and what its answers mean."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from types import AsyncGeneratorType

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from lightkube import KubeConfig
from lightkube.config.models import Cluster, User
from rows import each

from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind
from kotatsu_operator.kube import client as kube_module
from kotatsu_operator.kube import connection as connection_module
from kotatsu_operator.kube import informer
from kotatsu_operator.kube.client import Kube, Scale
from kotatsu_operator.kube.connection import MOST, TOKEN_SECONDS, Connection, authorization
from kotatsu_operator.kube.errors import (
    ApiError,
    ConflictError,
    HttpError,
    NotFoundError,
    TooSlow,
    Unreachable,
    is_refusal,
)
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import (
    ConfigMap,
    EndpointSlice,
    HorizontalPodAutoscaler,
    Pod,
    WarmPool,
    version_of,
)
from tests.operator.cluster import eventually, pod, warm_pool

pytestmark = pytest.mark.timeout(60)

SCALE = "/apis/apps/v1/namespaces/demo/deployments/voice/scale"
POOL = "/apis/kotatsu.dev/v1beta1/namespaces/demo/warmpools/voice"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices"


@dataclass
class Request:
    """A request as the API server got it."""

    method: str
    path: str
    params: dict
    headers: dict
    content: bytes


def _answer_of(what):
    """The response that (status, body) means."""
    status, body = what
    if isinstance(body, dict):
        return web.json_response(body, status=status)
    if isinstance(body, str):
        return web.Response(status=status, text=body)
    return web.Response(status=status, body=body)


@contextlib.asynccontextmanager
async def connected(server):
    """Connections to an HTTP server that answers what `server` says of each request.

    It says (status, body), the lines of a watch, or the error that the client is to see.
    """
    failures = []

    async def handle(asked):
        url, headers = asked.url, asked.headers
        request = Request(asked.method, url.path, dict(url.query), headers, await asked.read())
        said = server(request)
        if asyncio.iscoroutine(said):
            said = await said
        if isinstance(said, Exception):
            failures.append(said)
            asked.transport.abort()
            return web.Response()
        if not isinstance(said, AsyncGeneratorType):
            return _answer_of(said)
        stream = web.StreamResponse()
        await stream.prepare(asked)
        async for part in said:
            await stream.write(part)
        return stream

    async def see_failure(request, send):
        try:
            return await send(request)
        except aiohttp.ClientError:
            raise failures.pop() from None

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    there = TestServer(app)
    await there.start_server(shutdown_timeout=0)
    cluster = Cluster(server=str(there.make_url("/")))
    config = KubeConfig.from_one(cluster=cluster, user=User(token="t")).get()
    connection = Connection(config, "tester", [see_failure])
    try:
        yield connection
    finally:
        await connection.close()
        await there.close()


ANSWER = {"metadata": {"name": "voice", "resourceVersion": "7"}}


class Server:
    """An API server that answers what the test says, and remembers what it was asked."""

    def __init__(self):
        self.requests = []
        self.answers = []

    def __call__(self, request):
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else (200, ANSWER)

    @property
    def last(self):
        return self.requests[-1]

    @property
    def body(self):
        return json.loads(self.last.content)


def failure(code, reason):
    return code, {"kind": "Status", "code": code, "reason": reason, "message": f"no: {reason}"}


def scale(version, **spec):
    meta = {"name": "voice", "namespace": "demo", "resourceVersion": version}
    return 200, {"kind": "Scale", "metadata": meta, "spec": spec}


@pytest.fixture
def server():
    return Server()


@pytest.fixture
async def kube(server):
    async with connected(server) as connection:
        yield Kube(connection)


# --- the scale ---


async def test_a_scale_of_zero_has_no_replicas_in_it(kube, server):
    server.answers = [scale("7"), scale("8", replicas=3)]
    assert await kube.get_scale("demo", "voice") == Scale(0, "7")
    assert await kube.get_scale("demo", "voice") == Scale(3, "8")
    assert server.last.path == SCALE


NO_SUCH_GROUP = (404, "404 page not found\n")


@each("answer", [NO_SUCH_GROUP, (404, {"kind": "Status", "code": 404, "message": "not found"})])
async def test_a_scale_whose_kind_the_cluster_does_not_know_any_more_is_not_found(server, answer):
    flock = ScaledKind("example.org/v1", "Flock", "flocks")
    server.answers = [answer]
    async with connected(server) as connection:
        kube = Kube(connection, scaled={**BUILT_IN, "Flock": flock})
        with pytest.raises(NotFoundError):
            await kube.get_scale("demo", "Flock/voice")


async def test_a_scale_of_kubernetes_that_a_proxy_does_not_know_is_not_gone(kube, server):
    server.answers = [NO_SUCH_GROUP]
    with pytest.raises(HttpError):
        await kube.get_scale("demo", "voice")


MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
HPAS = "/apis/autoscaling/v2/namespaces/demo/horizontalpodautoscalers"
AT_7 = {"metadata": {"resourceVersion": "7"}}
LEAST_AT_7 = AT_7 | {"spec": {"minReplicas": 3}}
VOICE_AT_7 = {"metadata": {"name": "voice", "namespace": "demo", "resourceVersion": "7"}}
SLICE = {"metadata": {"name": "s", "namespace": "demo", "resourceVersion": "7"}, "endpoints": []}
NEW = {"metadata": {"generateName": "kotatsu-"}}
SMALL = {"metadata": {"uid": "uid-1"}, "spec": {"containers": [{"name": "app"}]}}


@each(
    "write, method, path, body, kind",
    [
        (lambda k: k.raise_scale("demo", "voice", "7"), "PATCH", SCALE,
         AT_7 | {"spec": {"replicas": 1}}, MERGE),
        (lambda k: k.put_scale("demo", "voice", 5, "7"), "PUT", SCALE,
         VOICE_AT_7 | {"spec": {"replicas": 5}}, "application/json"),
        (lambda k: k.put_scale("demo", "voice", 0, "7"), "PUT", SCALE,
         VOICE_AT_7 | {"spec": {"replicas": 0}}, "application/json"),
        (lambda k: k.resize(("demo", "voice-1"), SMALL), "PATCH",
         "/api/v1/namespaces/demo/pods/voice-1/resize", SMALL, STRATEGIC),
        (lambda k: k.patch_status("demo", "voice", {"phase": "Warm", "override": None}, "7"),
         "PATCH", f"{POOL}/status", AT_7 | {"status": {"phase": "Warm", "override": None}}, MERGE),
        (lambda k: k.patch_status("demo", "voice", {"demand": {"by": "a"}}), "PATCH",
         f"{POOL}/status", {"status": {"demand": {"by": "a"}}}, MERGE),
        (lambda k: k.merge(HorizontalPodAutoscaler, "demo", "voice", LEAST_AT_7), "PATCH",
         f"{HPAS}/voice", LEAST_AT_7, MERGE),
        (lambda k: k.create(EndpointSlice, "demo", NEW), "POST", SLICES, NEW, "application/json"),
        (lambda k: k.replace(EndpointSlice, "demo", SLICE), "PUT", f"{SLICES}/s", SLICE,
         "application/json"),
    ],
)  # fmt: skip
async def test_a_write_names_the_version_read_and_only_what_it_changes(
    kube, server, write, method, path, body, kind
):
    await write(kube)
    assert (server.last.method, server.last.path) == (method, path)
    sent = server.body
    for added in ("apiVersion", "kind"):
        sent.pop(added, None)
    assert sent == body
    assert server.last.headers["content-type"] == kind
    assert server.last.params["fieldManager"] == "tester"


async def test_another_pod_of_that_name_is_a_conflict_and_not_a_rejection(kube, server):
    code, status = failure(422, "Invalid")
    cause = {"reason": "FieldValueInvalid", "field": "metadata.uid"}
    for details, error in (({"causes": [cause]}, ConflictError), ({}, ApiError)):
        server.answers = [(code, status | {"details": details})]
        with pytest.raises(error):
            await kube.resize(("demo", "voice-1"), SMALL)


def calls(kube, name="voice"):
    """Each call about one object, by its verb."""
    meta = {"name": name, "namespace": "demo", "resourceVersion": "7"}
    return {
        "get": lambda: kube.get(WarmPool, "demo", name),
        "get_scale": lambda: kube.get_scale("demo", name),
        "put_scale": lambda: kube.put_scale("demo", name, 0, "7"),
        "raise_scale": lambda: kube.raise_scale("demo", name, "7"),
        "resize": lambda: kube.resize(("demo", name), SMALL),
        "patch_status": lambda: kube.patch_status("demo", name, {}),
        "merge": lambda: kube.merge(ConfigMap, "demo", name, {}),
        "create": lambda: kube.create(EndpointSlice, "demo", {"metadata": meta}),
        "replace": lambda: kube.replace(EndpointSlice, "demo", {"metadata": meta}),
        "delete": lambda: kube.delete(EndpointSlice, "demo", name),
    }


CALLS = list(calls(None))
WRITES = [verb for verb in CALLS if verb not in ("get", "get_scale")]


# --- names ---


@each(
    "name",
    ["../../theirs/deployments/web", "..", ".", "", "a/b", "a?dryRun=All", "a#b", "a%2fb", "a b"],
)
async def test_a_name_that_is_none_is_never_asked_for(kube, server, name):
    """The HTTP client takes dots out of a path: the first would be another namespace's."""
    for verb in CALLS:
        if verb not in ("create", "replace", "delete"):
            with pytest.raises(NotFoundError, match="not the name of an object"):
                await calls(kube, name)[verb]()
    await kube.delete(EndpointSlice, "demo", name)
    assert server.requests == []


# --- other objects ---


@each(
    "answer, expected",
    [
        ((200, {"metadata": {}, "items": []}), True),
        ((200, {"metadata": {}, "items": [{"metadata": {"name": "a"}}]}), True),
        ((404, "404 page not found\n"), False),
        (failure(404, "NotFound"), False),
    ],
)
async def test_an_api_is_there_when_it_can_be_listed(kube, server, answer, expected):
    server.answers = [answer]
    assert await kube.serves(WarmPool, "demo") is expected
    assert server.last.params["limit"] == "1"


@each("answer", [failure(403, "Forbidden"), (502, b"<html>"), OSError("away")])
async def test_whether_an_api_is_there_is_not_said_by_a_server_that_refuses(kube, server, answer):
    server.answers = [answer]
    with pytest.raises(Unreachable):
        await kube.serves(WarmPool, "demo")


def pages_of(*pages):
    """The answers to a list, one page after the other."""
    ends = [{"continue": f"after-{n}"} for n in range(1, len(pages))] + [{}]
    return [
        (200, {"kind": "List", "metadata": {"resourceVersion": "7"} | end, "items": page})
        for page, end in zip(pages, ends, strict=True)
    ]


async def test_all_objects_of_a_kind_are_listed_in_small_pages(kube, server):
    server.answers = pages_of([warm_pool()], [warm_pool("b")])
    found = await kube.find(WarmPool, "demo", {"team": "pet"})
    assert [obj["metadata"]["name"] for obj in found] == ["voice", "b"]
    asked = [dict(request.params) for request in server.requests]
    assert asked[0] == {"limit": "20", "labelSelector": "team=pet"}
    assert asked[1] == {"limit": "40", "labelSelector": "team=pet", "continue": "after-1"}


class Pods:
    """An API server with pods, which answers with as many of them as it is asked for."""

    def __init__(self, pods):
        self.pods = [json.dumps(pod) for pod in pods]
        self.asked = []

    def __call__(self, request):
        limit = int(request.params["limit"])
        start = int(request.params.get("continue", "0"))
        self.asked.append((start, limit))
        end = start + limit
        goes_on = str(end) if end < len(self.pods) else ""
        meta = json.dumps({"resourceVersion": "7", "continue": goes_on})
        items = ",".join(self.pods[start:end])
        return 200, f'{{"metadata": {meta}, "items": [{items}]}}'


async def names_listed(server):
    async with connected(server) as connection:
        return [obj["metadata"]["name"] for obj in await Kube(connection).find(Pod, "demo")]


async def test_pages_of_small_objects_grow():
    server = Pods(pod(f"web-{n}") for n in range(300))
    assert await names_listed(server) == [f"web-{n}" for n in range(300)]
    assert server.asked == [(0, 20), (20, 40), (60, 80), (140, 100), (240, 100)]


def large_pod(name, mib):
    """A pod with a field that nobody uses of some MiB."""
    made = pod(name)
    made["spec"]["containers"][0]["env"] = [{"name": "a", "value": "x" * int(mib * 2**20)}]
    return made


async def test_too_large_a_page_is_left_half_read_and_asked_for_again_with_fewer_objects():
    server = Pods(large_pod(f"web-{n}", 0.6) for n in range(30))
    assert await names_listed(server) == [f"web-{n}" for n in range(30)]
    assert server.asked == [(0, 20), *((at, 5) for at in range(0, 30, 5))]


async def test_of_objects_that_are_too_large_together_one_is_read_after_the_other():
    server = Pods(large_pod(f"web-{n}", 2.4) for n in range(20))
    assert len(await names_listed(server)) == 20
    assert server.asked == [(0, 20), (0, 5), *((at, 1) for at in range(20))]


async def test_what_nobody_uses_of_a_listed_object_is_not_kept(kube, server):
    pool = warm_pool()
    pool["metadata"]["annotations"] = {"of/others": "x" * 250_000}
    server.answers = pages_of([pool])
    (found,) = await kube.find(WarmPool, "demo")
    assert found["spec"] == pool["spec"]
    assert len(json.dumps(found)) < 1000


async def test_all_lists_together_have_one_page_in_memory(kube, server):
    reading = most = 0

    async def answer(request):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        reading -= 1
        return pages_of([warm_pool()])[0]

    async with connected(answer) as connection:
        one = Kube(connection)
        many = [one, one.separate(), one.guarded(lambda: True)]
        await asyncio.gather(*(kube.find(WarmPool, "demo") for kube in many * 3))
        await one.close()
    assert most == 1


async def test_a_kind_that_is_not_there_has_no_list(kube, server):
    server.answers = [failure(404, "NotFound")]
    with pytest.raises(NotFoundError):
        await kube.find(WarmPool, "demo")


@each("verb", WRITES)
async def test_who_may_not_write_any_more_sends_nothing(kube, server, verb):
    may = True
    guarded = kube.guarded(lambda: may)
    await calls(guarded)[verb]()
    sent = len(server.requests)
    may = False
    with pytest.raises(Unreachable, match="no longer leads"):
        await calls(guarded)[verb]()
    assert len(server.requests) == sent
    await guarded.get(WarmPool, "demo", "voice")


async def test_what_is_gone_already_is_deleted(kube, server):
    server.answers = [failure(404, "NotFound")]
    await kube.delete(EndpointSlice, "demo", "s")
    assert (server.last.method, server.last.path) == ("DELETE", SLICES + "/s")


# --- what can go wrong ---


FAILURES = [
    failure(403, "Forbidden"),
    failure(422, "Invalid"),
    failure(429, "TooManyRequests"),
    failure(500, "InternalError"),
    (503, b"no endpoints"),
    aiohttp.ClientConnectionError("refused"),
    aiohttp.SocketTimeoutError("slow"),
    aiohttp.ClientPayloadError("cut off"),
]
PAGES = [(200, b"<html>log in first</html>"), (200, b"")]
"""What a proxy in front of the API server may say."""


@each("call", CALLS)
async def test_every_failure_of_a_call_has_one_of_three_names(kube, server, call):
    """Stale, not there, or to be waited out: whoever calls knows what to do."""
    ask = calls(kube)[call]
    missing = failure(404, "NotFound"), NotFoundError
    unless_it_deletes = [missing, *((answer, Unreachable) for answer in PAGES)]
    for answer, error in (
        (failure(409, "Conflict"), ConflictError),
        *((answer, Unreachable) for answer in FAILURES),
        *([] if call == "delete" else unless_it_deletes),
    ):
        server.answers = [answer]
        with pytest.raises(error):
            await ask()


@each("call", CALLS)
async def test_a_connection_that_times_out_names_the_value_that_permits_it(kube, server, call):
    server.answers = [aiohttp.ConnectionTimeoutError("")]  # empty, as the library raises it
    with pytest.raises(TooSlow) as caught:
        await calls(kube)[call]()
    assert "networkPolicy.apiServerPorts" in str(caught.value)
    assert "kubectl get endpointslices kubernetes -n default" in str(caught.value)


@each(
    "obj, version",
    [
        ({"metadata": {"resourceVersion": "12"}}, 12),
        ({"metadata": {"resourceVersion": "x"}}, 0),
        ({"metadata": {}}, 0),
        ({}, 0),
    ],
)
def test_a_version_is_a_number(obj, version):
    assert version_of(obj) == version


# --- watching ---


class Watched:
    """Answers to lists and watches; a watch lasts until the test ends it."""

    def __init__(self):
        self.items = [pod("a")]
        self.requests = []
        self.lines = asyncio.Queue()
        self.failures = []
        self.stream = []
        """What the first watch says, whatever it is."""

    def __call__(self, request):
        self.requests.append(request.params)
        if self.failures:
            return self.failures.pop(0)
        if "watch" not in request.params:
            meta = {"resourceVersion": "50"}
            return 200, {"metadata": meta, "items": self.items}
        return self._stream()

    async def _stream(self):
        for line in self.stream:
            self.stream = []
            yield json.dumps(line).encode() + b"\n"
        while (line := await self.lines.get()) is not None:
            yield json.dumps(line).encode() + b"\n"

    def tell(self, change, obj, version):
        obj["metadata"]["resourceVersion"] = str(version)
        self.lines.put_nowait({"type": change, "object": obj})

    def lists(self):
        return [r for r in self.requests if "watch" not in r]


@pytest.fixture
def watched():
    return Watched()


@contextlib.asynccontextmanager
async def following(watched):
    """What a view has been told, by a `Watch` over the watched API server."""
    told = []

    def on_change(_, change, obj):
        objects = obj["items"] if change == "LIST" else [obj]
        told.append((change, [o["metadata"]["name"] for o in objects]))

    async with connected(watched) as connection:
        task = asyncio.create_task(Watch(Kube(connection), Pod, "demo", on_change).run())
        try:
            yield told
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_view_is_listed_and_then_followed(watched):
    watched.tell("ADDED", pod("b"), 51)
    watched.tell("MODIFIED", pod("b"), 52)
    watched.tell("DELETED", pod("a"), 53)
    async with following(watched) as seen:
        await eventually(lambda: len(seen) == 4)
    assert seen == [("LIST", ["a"]), ("ADDED", ["b"]), ("MODIFIED", ["b"]), ("DELETED", ["a"])]
    assert watched.requests[1]["resourceVersion"] == "50"
    assert watched.requests[1]["timeoutSeconds"] == "40"


async def test_pages_of_a_list_are_told_one_by_one(kube, server):
    pods = [pod(name) for name in "abc"]
    server.answers = pages_of(*([p] for p in pods))
    changes = kube.follow(Pod, "demo")
    told = [await anext(changes) for _ in pods]
    await changes.aclose()
    names = [(change, [o["metadata"]["name"] for o in obj["items"]]) for change, obj in told]
    assert names == [("PART", ["a"]), ("PART", ["b"]), ("LIST", ["c"])]
    assert [o["metadata"]["name"] for o in told[-1][1]["before"]] == ["a", "b"]


async def test_a_watch_that_goes_on_over_another_stream_says_so(watched):
    watched.lines.put_nowait(None)
    async with connected(watched) as connection:
        changes = Kube(connection).follow(Pod, "demo")
        assert [(await anext(changes))[0] for _ in range(2)] == ["LIST", kube_module.RENEWED]
        watched.tell("ADDED", pod("b"), 51)
        assert (await anext(changes))[0] == "ADDED"
        await changes.aclose()


# --- versions ---

HOSTILE = '"uid":"forged","resourceVersion":"9"'


def metadata_of(*pools):
    """The answer to a list of metadata, as the API server writes it."""
    items = [
        {
            "kind": "PartialObjectMetadata",
            "metadata": {
                "name": f"pool-{uid}",
                "namespace": "demo",
                "uid": uid,
                "resourceVersion": str(version),
                "annotations": {"of/others": HOSTILE, HOSTILE: "x"},
                "ownerReferences": [{"kind": "WarmPoolSet", "uid": "of-a-set", "name": "all"}],
            },
        }
        for uid, version in pools
    ]
    answer = {
        "kind": "PartialObjectMetadataList",
        "metadata": {"resourceVersion": "100"},
        "items": items,
    }
    return json.dumps(answer, separators=(",", ":")).encode()


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_versions_are_read_from_parts_of_any_size(size):
    data, asked = metadata_of(("a", 5), ("b", 7)), []

    async def parts():
        for start in range(0, len(data), size):
            yield data[start : start + size]

    def answer(request):
        asked.append(request)
        return parts()

    async with connected(answer) as connection:
        assert await Kube(connection).versions_of(WarmPool) == {"a": 5, "b": 7}
    assert asked[0].path == "/apis/kotatsu.dev/v1beta1/warmpools"
    assert asked[0].params == {"resourceVersion": "0"}, "from the cache of the API server"
    assert "as=PartialObjectMetadataList" in asked[0].headers["Accept"]


async def test_there_may_be_no_versions():
    async with connected(lambda _: (200, metadata_of())) as connection:
        assert await Kube(connection).versions_of(WarmPool) == {}


@pytest.mark.parametrize(
    "answer", [(200, b"<html>"), (503, b"away"), (200, b""), (404, "404 page not found\n")]
)
async def test_what_is_no_list_of_metadata_has_no_versions(answer):
    async with connected(lambda _: answer) as connection:
        with pytest.raises(Unreachable):
            await Kube(connection).versions_of(WarmPool)


TOO_OLD = {
    "type": "ERROR",
    "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"},
}


async def test_an_api_server_that_calls_each_version_too_old_is_not_asked_without_an_end(
    watched, monkeypatch
):
    monkeypatch.setattr(informer, "FIRST_PAUSE", 3600.0)
    async with following(watched) as seen:
        await eventually(lambda: len(watched.requests) == 2)
        watched.lines.put_nowait(TOO_OLD)
        await eventually(watched.lines.empty)
        for _ in range(100):
            await asyncio.sleep(0)
    assert seen == [("LIST", ["a"])]


@pytest.mark.parametrize(
    "line",
    [TOO_OLD, None, [], "x", 7, {}, {"type": "ADDED"}]
    + [{"type": "ADDED", "object": obj} for obj in (None, [], "x", {}, {"metadata": None})],
)
async def test_after_what_is_no_change_all_is_listed_again(watched, monkeypatch, line):
    """A version is too old, and a proxy in front of the API server may say anything."""
    monkeypatch.setattr(informer, "FIRST_PAUSE", 0.01)
    watched.stream = [line]
    async with following(watched) as seen:
        await eventually(lambda: len(seen) == 2)
    assert [change for change, _ in seen] == ["LIST", "LIST"]


NOT_SERVED = {
    "no such group": (404, "404 page not found\n"),
    "no such kind": failure(404, "NotFound"),
}
AWAY = NOT_SERVED | {
    "refused": aiohttp.ClientConnectionError("refused"),
    "503": (503, b"no endpoints"),
    "a page": PAGES[0],
}


@pytest.mark.parametrize("failure", AWAY)
async def test_an_api_server_that_is_away_is_listed_when_it_is_back(watched, monkeypatch, failure):
    monkeypatch.setattr(informer, "FIRST_PAUSE", 0.01)
    watched.failures = [AWAY[failure]]
    async with following(watched) as seen:
        await eventually(lambda: seen)
    assert seen == [("LIST", ["a"])]


@pytest.mark.parametrize(("last", "is_ended"), [("50", False), ("51", False), ("51", True)])
async def test_a_watch_that_went_silent_or_ended_goes_on_over_another_stream(
    monkeypatch, watched, last, is_ended
):
    """It did not end and it does not speak: a stream like that is not trusted for long."""
    monkeypatch.setattr(kube_module, "WATCH_SECONDS", 0.2)
    async with following(watched) as seen:
        if last == "51":
            watched.tell("ADDED", pod("b"), 51)
            await eventually(lambda: len(seen) == 2)
        if is_ended:
            watched.lines.put_nowait(None)
        before = len(watched.requests)
        await eventually(lambda: len(watched.requests) >= before + 2)
        assert watched.requests[-1]["resourceVersion"] == last
        watched.tell("ADDED", pod("c"), 52)
        await eventually(lambda: seen[-1] == ("ADDED", ["c"]))
    assert len(watched.lists()) == 1


@pytest.mark.parametrize("answer", NOT_SERVED)
@pytest.mark.parametrize("while_watching", [False, True])
async def test_an_error_that_the_caller_raises_ends_the_watch(
    watched, caplog, answer, while_watching
):
    def fail(*_):
        watched.failures = [NOT_SERVED[answer]]

    def end(error):
        raise error

    watched.lines.put_nowait(None)
    if not while_watching:
        fail()
    async with connected(watched) as connection:
        with pytest.raises(NotFoundError):
            await Watch(Kube(connection), Pod, "demo", fail, on_error=end).run()
    assert len(watched.requests) == 1 + while_watching
    assert caplog.records == []


async def test_the_log_of_a_watch_that_cannot_connect_names_the_value_that_permits_it(
    watched, caplog
):
    watched.failures = [aiohttp.ConnectionTimeoutError("")]
    async with following(watched) as seen:
        await eventually(lambda: seen)
    (line,) = caplog.messages
    assert "cannot watch Pod in demo: no connection to the API server" in line
    assert "networkPolicy.apiServerPorts" in line


@each(
    "code, is_refused",
    [(400, True), (403, True), (422, True), (401, False), (408, False), (429, False), (500, False)],
)
async def test_a_write_is_refused_for_what_is_written_or_for_something_else(
    kube, server, code, is_refused
):
    server.answers = [failure(code, "Because")]
    with pytest.raises(Unreachable) as caught:
        await kube.merge(ConfigMap, "demo", "voice-1", {"metadata": {"annotations": {"a": "1"}}})
    assert is_refusal(caught.value) == is_refused
    assert not is_refusal(OSError("away"))


# --- the connection ---


async def test_a_request_says_who_asks(kube, server):
    await kube.get(WarmPool, "demo", "voice")
    assert server.last.headers["authorization"] == "Bearer t"


def test_a_token_of_a_file_is_read_again_before_it_expires(tmp_path):
    """A kubelet replaces it when a fifth of its time is left: of the shortest, two minutes."""
    (tmp_path / "token").write_text("first\n")
    now = 0.0
    current = authorization(User(token_file=str(tmp_path / "token")), lambda: now)
    assert current() == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    now = TOKEN_SECONDS - 1
    assert current() == "Bearer first"
    now = TOKEN_SECONDS
    assert current() == "Bearer second"


async def test_a_watch_reads_lines_of_any_length(watched):
    large = pod("b")
    large["metadata"]["annotations"] = {"of/others": "x" * 2_000_000}
    watched.tell("ADDED", large, 51)
    watched.tell("ADDED", pod("c"), 52)
    async with following(watched) as seen:
        await eventually(lambda: len(seen) == 3)
    assert seen[1:] == [("ADDED", ["b"]), ("ADDED", ["c"])]


@each("answer", [(200, "<html>log in first</html>"), aiohttp.ConnectionTimeoutError("")])
async def test_a_watch_that_does_not_come_about_is_not_begun_again_at_once(watched, answer):
    """Who watches makes a pause, and says why."""
    async with connected(watched) as connection:
        changes = Kube(connection).follow(Pod, "demo")
        assert (await anext(changes))[0] == "LIST"
        watched.failures = [answer]
        with pytest.raises(Unreachable):
            await anext(changes)


async def test_more_watches_than_connections_leave_some_to_others(watched):
    async with connected(watched) as connection:
        kube = Kube(connection)
        told = []

        async def watch():
            async for change, _ in kube.follow(Pod, "demo"):
                told.append(change)

        tasks = [asyncio.create_task(watch()) for _ in range(MOST + 1)]
        await eventually(lambda: len(watched.requests) == 2 * len(tasks))
        assert told == ["LIST"] * len(tasks)
        await kube.find(Pod, "demo")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- turns ---


class Gated:
    """An API server whose calls all end once the test opens it; it remembers who came."""

    def __init__(self):
        self.came, self.gate = [], asyncio.Event()

    async def __call__(self, request):
        namespace = request.path.split("/namespaces/")[1].split("/")[0]
        self.came.append(namespace)
        await self.gate.wait()
        if request.method == "GET":
            return pages_of([pod()])[0]
        return scale("8", replicas=1)


@contextlib.asynccontextmanager
async def crowded(gated, *crowds, of=1200):
    """A client with so many calls of some namespaces, of which the first are under way."""
    async with connected(gated) as connection:
        kube = Kube(connection)
        calls = [
            asyncio.create_task(kube.raise_scale(crowds[n % len(crowds)], f"pool-{n}", "7"))
            for n in range(of)
        ]
        await eventually(lambda: len(gated.came) == MOST)
        yield kube
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


@each("crowds", [1, 40])
async def test_one_call_of_each_namespace_goes_before_that_of_one_that_has_none(crowds):
    gated = Gated()
    async with crowded(gated, *(f"crowd-{n}" for n in range(crowds))) as kube:
        other = asyncio.create_task(kube.raise_scale("other", "web", "7"))
        await asyncio.sleep(0)
        gated.gate.set()
        await other
    before = gated.came[MOST : gated.came.index("other")]
    assert len(before) == len(set(before))


async def test_a_list_does_not_wait_behind_the_calls_and_lists_of_another_namespace():
    gated = Gated()
    async with crowded(gated, "crowd") as kube:
        lists = [asyncio.create_task(kube.find(Pod, of)) for of in ["crowd"] * 100 + ["other"]]
        await eventually(lambda: len(gated.came) == MOST + 1)
        gated.gate.set()
        await lists[-1]
        assert not all(task.done() for task in lists[:10])
        await asyncio.gather(*lists)


async def test_waiting_for_a_turn_is_not_the_lack_of_a_connection(monkeypatch):
    gated = Gated()
    async with crowded(gated, "crowd", of=MOST) as kube:
        bound = aiohttp.ClientTimeout(connect=0.05, sock_read=60.0)
        monkeypatch.setattr(connection_module, "_BOUNDED", bound)
        waits = asyncio.create_task(kube.raise_scale("other", "web", "7"))
        await asyncio.sleep(0.2)
        gated.gate.set()
        assert (await waits).replicas == 1


async def test_a_write_that_has_waited_for_its_turn_is_not_sent_by_one_who_leads_no_more():
    gated, leads = Gated(), True
    async with crowded(gated, "crowd", of=MOST) as kube:
        waits = asyncio.create_task(kube.guarded(lambda: leads).raise_scale("other", "web", "7"))
        await asyncio.sleep(0)
        leads = False
        gated.gate.set()
        with pytest.raises(Unreachable, match="no longer leads"):
            await waits
    assert "other" not in gated.came
