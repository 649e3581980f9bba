"""The client of the API server for operator, activator and jobs.

Writes to targets name the version that was read. Objects are plain dicts as the API server sends
them: the programs read few fields of each, and a dict accepts unknown fields.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec
from aiohttp import StreamReader
from lightkube.core.resource import api_info

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.pool.spec import BUILT_IN, Scaled
from kotatsu_operator.kube import errors, objects
from kotatsu_operator.kube.connection import Connection, error_of
from kotatsu_operator.kube.errors import (
    ApiError,
    ConflictError,
    HttpError,
    NotFoundError,
    Unreachable,
)
from kotatsu_operator.kube.fields import decoded, used
from kotatsu_operator.kube.objects import Key, Object, WarmPool
from kotatsu_operator.runtime.turns import Turns

WATCH_SECONDS = 20
"""After this many silent seconds a watch is replaced by another one from the same version. With the
time for a connection, an event of one that has died comes within 30 s."""

RENEWED = "RENEWED"
"""The change of `Kube.follow` that says that a watch goes on and has nothing new."""

PAGE = 20
"""Objects in the first answer to a list."""

LARGEST_PAGE = 100
"""Objects in an answer at most, of small ones: they are read without a turn for others."""

MOST_READ = 4 * 1024 * 1024
"""Bytes of an answer with several objects. One object can have some MB."""

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_VERSION = re.compile(rb'"uid":"([^"\\]+)","resourceVersion":"(\d+)"')
"""Two fields that the API server writes one after the other, in the metadata of each object. In a
text each quote has a backslash before it."""

_LONGEST_VERSION = 256
"""Bytes of these fields at most."""

_LIST_AGAIN = 410
"""HTTP 410 Gone: the resourceVersion to continue from is too old."""


@dataclass(frozen=True)
class Scale:
    """The scale of a target as read: `replicas`, and the resourceVersion for the write."""

    replicas: int
    version: str


def _scale(found: Object) -> Scale:
    with _readable():
        replicas = table(found.get("spec")).get("replicas")
        return Scale(int(replicas or 0), found["metadata"]["resourceVersion"])


_SEGMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def _segment(name: str) -> str:
    """A name as a path segment of a request. Raises NotFoundError for an impossible name.

    Others write names, and the HTTP client resolves the dots in `../../other/deployments/web`.
    """
    if _SEGMENT.fullmatch(name) is None:
        raise NotFoundError(f"{name!r} is not the name of an object")
    return name


EVERYWHERE = "*"
"""In place of a namespace: all of them, for a list or a watch."""


def _path_of(kind: Any, namespace: str | None, name: str = "") -> str:
    """The path of an object, or of all objects of a kind; of all namespaces with `*` or none."""
    info = api_info(kind)
    base = info.parent or info.resource
    parts = [f"apis/{base.group}" if base.group else "api", base.version]
    if namespace and namespace != EVERYWHERE:
        parts += ["namespaces", namespace]
    return "/".join([*parts, info.plural, *filter(None, (name, info.action))])


def _typed(kind: Any, obj: Object) -> Object:
    """An object with the apiVersion and kind that its kind has."""
    resource = api_info(kind).resource
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


Keeps = Callable[[Object], bool]
"""Whether an object is of interest."""


def everything(_: Object) -> bool:
    """Keep every object."""
    return True


class _Page(msgspec.Struct):
    """An answer to a list; of its objects nothing is made yet."""

    class Meta(msgspec.Struct):
        """What the list has beside the objects: `next` is empty on the last page."""

        resourceVersion: str = "0"  # noqa: N815
        next: str = msgspec.field(name="continue", default="")

    items: list[msgspec.Raw]
    metadata: Meta


class _Event(msgspec.Struct):
    """A line of a watch."""

    type: str
    object: msgspec.Raw


_NO_REPLICAS = 500
"""How the API server answers for the scale of a custom resource without spec.replicas."""

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
"""How a patch is meant."""

T = TypeVar("T")


@dataclass(eq=False)
class Kube:
    """The client, over one connection pool. `connect` sets the field manager of every write."""

    connection: Connection
    may_write: Callable[[], bool] = lambda: True
    on_error: Callable[[str], None] = lambda _: None
    on_restart: Callable[[str, int], None] = lambda _, __: None
    """Called with the kind of each watch that is made, and with how often it was restarted now."""
    scaled: Scaled = field(default_factory=lambda: BUILT_IN)
    reading: Turns = field(default_factory=lambda: Turns(1))
    """One for each page of a list: all lists of a process have one page in memory."""
    _separate: list["Kube"] = field(default_factory=list, init=False)

    @classmethod
    def connect(
        cls,
        actor: str,
        on_error: Callable[[str], None] = lambda _: None,
        scaled: Scaled = BUILT_IN,
        on_restart: Callable[[str, int], None] = lambda _, __: None,
    ) -> "Kube":
        """Connect with the pod's service account, or with KUBECONFIG outside of a cluster.

        `actor` is the field manager of every write. `scaled` are the kinds whose scale may be set.
        `on_error` gets the status code or `unreachable` of each call that fails, except conflicts
        and missing objects.
        """
        connection = Connection.from_environment(actor)
        return cls(connection, on_error=on_error, on_restart=on_restart, scaled=scaled)

    def guarded(self, may_write: Callable[[], bool]) -> "Kube":
        """The same connections, but a write raises NotLeadingError unless `may_write()`.

        A Lease is not a fence: a paused process can resume in the middle of a reconcile.
        """
        return replace(self, may_write=may_write)

    def separate(self) -> "Kube":
        """A client with its own connections to the same API server, closed together with this one.

        Calls that must not wait behind a thousand others use another pool of connections.
        """
        made = replace(self, connection=self.connection.another())
        self._separate.append(made)
        return made

    async def close(self) -> None:
        for other in self._separate:
            await other.close()
        await self.connection.close()

    # --- reading ---

    async def get(self, kind: Any, namespace: str | None, name: str) -> Object:
        """Read one object; without a namespace, of a global kind. Raises NotFoundError."""
        where = namespace and _segment(namespace)
        return await self._object("GET", kind, where, _segment(name))

    async def get_scale(self, namespace: str, workload: str) -> Scale:
        """Read the scale of a workload, named by its `ref`. Raises NotFoundError.

        At 0 the API leaves `replicas` out.
        """
        kind, name = self._scale_of(workload)
        try:
            found = await self._object("GET", kind, namespace, name)
        except HttpError as error:
            known = self.scaled[objects.parts(workload)[0]]
            if known.kind in BUILT_IN:
                raise
            if errors.is_missing(error):
                raise NotFoundError(f"the cluster does not know {known.kind} any more") from None
            if error.code != _NO_REPLICAS:
                raise
            unset = await self.get(objects.resource_of(known), namespace, name)
            # Without spec.replicas, its controller makes one pod.
            return Scale(
                int(unset["spec"].get("replicas", 1)), unset["metadata"]["resourceVersion"]
            )
        return _scale(found)

    def _scale_of(self, workload: str) -> tuple[Any, str]:
        """The scale subresource of a workload, and its name as a path segment."""
        kind, name = objects.parts(workload)
        if not kind[:1].isupper():
            raise NotFoundError(f"{workload!r} is not the name of an object")
        known = self.scaled.get(kind)
        if known is None:
            raise errors.UnreadableError(
                f"{kind} is not among the kinds of the chart value `targets`"
            )
        return objects.resource_of(known).Scale, _segment(name)

    async def serves(self, kind: Any, namespace: str) -> bool:
        try:
            with _readable():
                data = await self._answer("GET", kind, namespace, params={"limit": 1})
                decoded(data, _Page)
        except Unreachable as error:
            if errors.is_missing(error):
                return False
            raise
        return True

    async def find(
        self,
        kind: Any,
        namespace: str,
        labels: Mapping[str, str] | None = None,
        read: Callable[[Object], Any] = lambda obj: obj,
    ) -> list[Any]:
        """Read the used fields of all objects with these labels, or what `read` makes of them.

        If the kind does not exist, `errors.is_missing` is true of the error: the API server says
        it in plain text.
        """

        async def found() -> list[Any]:
            pages = self._pages(kind, namespace, labels, everything)
            return [read(obj) async for items, _, _ in pages for obj in items]

        return await self._call(found())

    async def listed(
        self, kind: Any, namespace: str, keeps: Keeps
    ) -> AsyncIterator[tuple[list[Object], int]]:
        """Page by page, the used fields of the objects that `keeps` accepts.

        With the version of the list: newer objects are not in it. Raises as `find`.
        """
        pages = self._pages(kind, namespace, None, keeps)
        while (page := await self._call(anext(pages, None))) is not None:
            yield page[0], int(page[1])

    async def versions_of(self, kind: Any) -> dict[str, int]:
        """The resourceVersions of all objects of a kind by uid, from the API server's cache.

        The answer has no pages, and ten thousand WarmPools have 24 MB of metadata: nothing is kept
        of it but these.
        """

        async def versions() -> dict[str, int]:
            found, rest, is_list = dict[str, int](), b"", False
            path, asked = _path_of(kind, EVERYWHERE), {"resourceVersion": "0"}
            async with (
                self.connection.turns.of(EVERYWHERE),
                self.connection.send("GET", path, asked, accept=_METADATA) as response,
            ):
                async for part in response.content.iter_any():
                    data = rest + part
                    is_list = is_list or b'"PartialObjectMetadataList"' in data
                    for one in _VERSION.finditer(data):
                        found[one[1].decode()] = int(one[2])
                    rest = data[-_LONGEST_VERSION:]
            if not is_list:
                raise ValueError("no list of metadata")
            return found

        return await self._call(versions())

    async def _pages(
        self, kind: Any, namespace: str, labels: Mapping[str, str] | None, keeps: Keeps
    ) -> AsyncIterator[tuple[list[Object], str, bool]]:
        """The pages of a list: the used fields of its objects, its version, and if it is the last.

        The API server limits a page by its objects, so it is asked for few, for fewer after too
        large a page, and for more after a small one.
        """
        asked: dict[str, Any] = {"limit": PAGE}
        if labels:
            asked["labelSelector"] = ",".join(f"{k}={v}" for k, v in labels.items())
        is_last = False
        while not is_last:
            async with self.reading.of(namespace):
                with _readable():
                    data = await self._page(kind, namespace, asked)
                    if data is None:
                        asked["limit"] = max(asked["limit"] // 4, 1)
                        continue
                    found = decoded(data, _Page)
                    page = [obj for obj in (used(kind, raw) for raw in found.items) if keeps(obj)]
                    if len(data) < MOST_READ // 4:
                        asked["limit"] = min(asked["limit"] * 2, LARGEST_PAGE)
                    del data, found.items
            is_last = not found.metadata.next
            asked["continue"] = found.metadata.next
            yield page, found.metadata.resourceVersion, is_last

    async def _page(self, kind: Any, namespace: str, asked: Mapping[str, Any]) -> bytes | None:
        """The answer to a list; None if it has more than MOST_READ, unless it is of one object."""
        parts, size = [], 0
        # It has its turn already: while it waited for another one, all lists would wait.
        async with self.connection.send("GET", _path_of(kind, namespace), asked) as response:
            async for part in response.content.iter_any():
                size += len(part)
                if size > MOST_READ and asked["limit"] > 1:
                    return None
                parts.append(part)
        return b"".join(parts)

    async def _answer(
        self, method: str, kind: Any, namespace: str | None, name: str = "", **asked: Any
    ) -> bytes:
        """The body of an answer, in a turn of the namespace. Raises NotLeadingError."""
        path = _path_of(kind, namespace, name)
        async with self.connection.turns.of(namespace or EVERYWHERE):
            if method != "GET" and not self.may_write():
                raise errors.NotLeadingError("this operator no longer leads")
            async with self.connection.send(method, path, **asked) as response:
                return await response.read()

    async def follow(
        self, kind: Any, namespace: str, keeps: Keeps = everything
    ) -> AsyncIterator[tuple[str, Object]]:
        """List, then watch until the API server no longer has the version to continue from.

        Objects that `keeps` rejects are dropped as they are read.
        Yields ("PART", {"items": [...]}) for each page of the list but the last, and once ("LIST",
        {"items": [...], "before": [...]}) with the last page and the names of all objects on the
        pages before. Then yields (ADDED|MODIFIED|DELETED, object), and (RENEWED, {}) when it goes
        on over another connection. Objects have only the used fields. Raises NotFoundError if the
        kind does not exist (any more).
        """
        before: list[Object] = []
        version = ""
        try:
            async for items, at, is_last in self._pages(kind, namespace, None, keeps):
                version = at
                if is_last:
                    yield "LIST", {"items": items, "before": before}
                else:
                    before += [{"metadata": objects.named(item)} for item in items]
                    yield "PART", {"items": items}
        except Unreachable as error:
            if errors.is_missing(error):
                raise NotFoundError(str(error)) from None
            raise
        while True:
            events = self._events(kind, namespace, version)
            try:
                while True:
                    async with asyncio.timeout(WATCH_SECONDS):
                        with _readable():
                            change, obj = await anext(events)
                    version = obj["metadata"]["resourceVersion"]
                    if keeps(obj):
                        yield change, obj
            except (TimeoutError, StopAsyncIteration):
                pass
            except HttpError as error:
                if error.code == _LIST_AGAIN:
                    return
                if errors.is_missing(error):
                    raise NotFoundError(str(error)) from None
                raise
            finally:
                await events.aclose()
            yield RENEWED, {}

    async def _events(
        self, kind: Any, namespace: str, version: str
    ) -> AsyncGenerator[tuple[str, Object]]:
        """The changes since a version, until the API server ends the watch."""
        asked: dict[str, str | int] = {
            "resourceVersion": version,
            "timeoutSeconds": 2 * WATCH_SECONDS,
            "watch": "true",
        }
        path = _path_of(kind, namespace)
        # A watch never ends: with a bound, those of many kinds would leave nothing to the others.
        async with self.connection.send("GET", path, asked) as response:
            async for line in lines(response.content):
                event = decoded(line, _Event)
                if event.type == "ERROR":
                    raise error_of(event.object)
                yield event.type, used(kind, event.object)

    # --- writing ---

    async def put_scale(self, namespace: str, workload: str, replicas: int, version: str) -> None:
        """Set the replicas of a workload, named by its `ref`, if it is still at `version`.

        Raises ConflictError, NotFoundError.
        """
        kind, name = self._scale_of(workload)
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
            "spec": {"replicas": replicas},
        }
        await self._object("PUT", kind, namespace, name, body=body)

    async def raise_scale(self, namespace: str, workload: str, version: str) -> Scale:
        """Set the replicas of a workload, named by its `ref`, to 1 if it is still at `version`.

        A JSON patch cannot test `replicas`, which is absent at 0. Raises ConflictError,
        NotFoundError.
        """
        kind, name = self._scale_of(workload)
        patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 1}}
        return _scale(await self.merge(kind, namespace, name, patch))

    async def resize(self, key: Key, patch: Object) -> Object:
        """Set requests of a running pod by a strategic merge; return the pod.

        Nothing is set if another pod has the name now than the one whose uid the patch has. Raises
        ConflictError, NotFoundError.
        """
        try:
            return await self.merge(objects.PodResize, *key, patch, STRATEGIC)
        except ApiError as error:
            if "metadata.uid" in error.fields:
                raise ConflictError(str(error)) from None
            raise

    async def patch_status(
        self, namespace: str, name: str, status: Object, version: str | None = None
    ) -> Object:
        """Merge into a WarmPool's status; with `version`, only if the pool is still at it.

        Raises ConflictError, NotFoundError.
        """
        patch: Object = {"status": status}
        if version is not None:
            patch["metadata"] = {"resourceVersion": version}
        return await self.merge(WarmPool.Status, namespace, name, patch)

    async def merge(
        self,
        kind: Any,
        namespace: str | None,
        name: str,
        patch: Object,
        how: str = MERGE,
    ) -> Object:
        """Merge a patch into an object; if it names a resourceVersion, only at that one.

        Raises ConflictError, NotFoundError.
        """
        where = namespace, _segment(name)
        return await self._object("PATCH", kind, *where, body=patch, content=how)

    async def _object(
        self, method: str, kind: Any, namespace: str | None, name: str = "", **asked: Any
    ) -> Object:
        """The used fields of the object in an answer."""
        data = await self._call(self._answer(method, kind, namespace, name, **asked))
        with _readable():
            return used(kind, data)

    async def apply(self, kind: Any, obj: Object) -> Object:
        """Create an object; one that is there gets these fields (a server-side apply)."""
        meta, body = obj["metadata"], _typed(kind, obj)
        where, asked = (meta.get("namespace"), _segment(meta["name"])), {"force": "true"}
        return await self._object("PATCH", kind, *where, body=body, content=APPLY, params=asked)

    async def offer(self, kind: Any, obj: Object, manager: str) -> Object:
        """Apply the fields of an object as a field manager that takes none from others.

        Raises ConflictError if another manager has set one of them to another value, NotFoundError,
        and ApiError for what the API server rejects.
        """
        meta, asked = obj["metadata"], {"fieldManager": manager}
        where = meta["namespace"], _segment(meta["name"])
        return await self._object("PATCH", kind, *where, body=obj, content=APPLY, params=asked)

    async def judged(self, kind: Any, obj: Object) -> Object:
        """An object as it would be created. Raises ApiError, also for unknown fields."""
        namespace, asked = obj["metadata"]["namespace"], {"dryRun": "All"}
        asked["fieldValidation"] = "Strict"
        body = _typed(kind, obj)
        return await self._object("POST", kind, namespace, body=body, params=asked)

    async def create(self, kind: Any, namespace: str, obj: Object) -> Object:
        """Create an object. Raises ConflictError when it exists."""
        return await self._object("POST", kind, namespace, body=_typed(kind, obj))

    async def replace(self, kind: Any, namespace: str | None, obj: Object) -> Object:
        """Replace an object at the version it carries. Raises ConflictError, NotFoundError."""
        name, body = _segment(obj["metadata"]["name"]), _typed(kind, obj)
        return await self._object("PUT", kind, namespace, name, body=body)

    async def delete(self, kind: Any, namespace: str, name: str) -> None:
        """Delete an object; a missing object is not an error."""
        with contextlib.suppress(NotFoundError):
            await self._call(self._answer("DELETE", kind, namespace, _segment(name)))

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            with _readable():
                return await call
        except ApiError as error:
            if error.code == 409:
                raise ConflictError(str(error)) from None
            if error.code == 404:
                raise NotFoundError(str(error)) from None
            self.on_error(str(error.code))
            raise
        except errors.NotLeadingError:
            raise
        except Unreachable:
            self.on_error("unreachable")
            raise


async def lines(content: StreamReader) -> AsyncIterator[bytes]:
    """The lines of an answer, of any length."""
    rest = b""
    async for part in content.iter_any():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Raise UnreadableError for what an unreadable response leads to."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise errors.UnreadableError(f"not a response of an API server: {error!r}") from None
