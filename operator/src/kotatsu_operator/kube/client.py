"""The client of the API server for operator, activator and jobs.

Writes to targets name the version that was read. Objects are plain dicts as the API server sends
them: the programs read few fields of each, and a dict accepts unknown fields.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx2
import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.core.decoders import decode_status, decode_watch_event
from lightkube.core.selector import build_selector
from lightkube.types import PatchType

from kotatsu_operator.core.pool.spec import BUILT_IN, Scaled
from kotatsu_operator.kube import errors, objects
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.objects import Key, Object, WarmPool

WATCH_SECONDS = 30
"""After this many silent seconds a watch is replaced by another one from the same version."""

PAGE = 20
"""Objects in the first answer to a list."""

LARGEST_PAGE = 100
"""Objects in an answer at most, of small ones: they are read without a turn for others."""

MOST_READ = 4 * 1024 * 1024
"""Bytes of an answer with several objects. One object can have some MB."""

_TIMEOUT = 10.0
_WATCH_TIMEOUT = httpx2.Timeout(_TIMEOUT, read=None)
_NO_CONNECTION = (
    f"no connection to the API server within {_TIMEOUT:.0f} s. If there never was one, a "
    "NetworkPolicy may block it: the chart value networkPolicy.apiServerPorts needs the port that "
    "`kubectl get endpointslices kubernetes -n default` shows"
)

_LIST_AGAIN = 410
"""HTTP 410 Gone: the resourceVersion to continue from is too old."""


@dataclass(frozen=True)
class Scale:
    """The scale of a target as read: `replicas`, and the resourceVersion for the write."""

    replicas: int
    version: str


def _named(obj: Object) -> Object:
    """The metadata of an object with nothing but its name."""
    meta = obj["metadata"]
    return {name: meta[name] for name in ("namespace", "name") if name in meta}


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


_NO_REPLICAS = 500
"""How the API server answers for the scale of a custom resource without spec.replicas."""


@dataclass(eq=False)
class Kube:
    """The client, over one connection pool. `connect` sets the field manager of every write."""

    # The library's overloads expect typed models, but Kotatsu uses dicts.
    client: Any
    may_write: Callable[[], bool] = lambda: True
    on_error: Callable[[str], None] = lambda _: None
    more: Callable[[], AsyncClient] | None = None
    """Makes a client with connections of its own."""
    scaled: Scaled = field(default_factory=lambda: BUILT_IN)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a page of a list is read: all lists of a process have one page in memory."""
    _separate: list["Kube"] = field(default_factory=list, init=False)

    @classmethod
    def connect(
        cls,
        actor: str,
        on_error: Callable[[str], None] = lambda _: None,
        scaled: Scaled = BUILT_IN,
    ) -> "Kube":
        """Connect with the pod's service account, or with KUBECONFIG outside of a cluster.

        `actor` is the field manager of every write. `scaled` are the kinds whose scale may be set.
        `on_error` gets the status code or `unreachable` of each call that fails, except conflicts
        and missing objects.
        """

        def client() -> AsyncClient:
            return AsyncClient(field_manager=actor, timeout=httpx2.Timeout(_TIMEOUT))

        return cls(client(), on_error=on_error, more=client, scaled=scaled)

    def guarded(self, may_write: Callable[[], bool]) -> "Kube":
        """The same connections, but a write raises NotLeadingError unless `may_write()`.

        A Lease is not a fence: a paused process can resume in the middle of a reconcile.
        """
        return replace(self, may_write=may_write, more=None)

    def separate(self) -> "Kube":
        """A client with its own connections to the same API server, closed together with this one.

        Calls that must not wait behind a thousand others use another pool of connections.
        """
        if self.more is None:
            return self
        made = replace(self, client=self.more())
        self._separate.append(made)
        return made

    async def close(self) -> None:
        for other in self._separate:
            await other.close()
        await self.client.close()

    # --- reading ---

    async def get(self, kind: Any, namespace: str | None, name: str) -> Object:
        """Read one object; without a namespace, of a global kind. Raises NotFoundError."""
        where = namespace and _segment(namespace)
        return await self._object("get", kind, name=_segment(name), namespace=where)

    async def get_scale(self, namespace: str, workload: str) -> Scale:
        """Read the scale of a workload, named by its `ref`. Raises NotFoundError.

        At 0 the API leaves `replicas` out.
        """
        kind, name = self._scale_of(workload)
        try:
            found = await self._call(self.client.get(kind, name, namespace=namespace))
        except (ApiError, httpx2.HTTPStatusError) as error:
            known = self.scaled[objects.parts(workload)[0]]
            if known.kind in BUILT_IN:
                raise
            if errors.is_missing(error):
                raise NotFoundError(f"the cluster does not know {known.kind} any more") from None
            if errors.code_of(error) != _NO_REPLICAS:
                raise
            unset = await self.get(objects.resource_of(known), namespace, name)
            # Without spec.replicas, its controller makes one pod.
            return Scale(
                int(unset["spec"].get("replicas", 1)), unset["metadata"]["resourceVersion"]
            )
        replicas = found.spec.replicas if found.spec is not None else None
        return Scale(replicas or 0, found.metadata.resourceVersion)

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
                async for _ in self.client.list(kind, namespace=namespace, chunk_size=1):
                    break
        except Unreachable as error:
            if errors.is_missing(error):
                return False
            raise
        return True

    async def find(
        self, kind: Any, namespace: str, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Read the used fields of all objects with these labels.

        If the kind does not exist, `errors.is_missing` is true of the error: the API server says
        it in plain text.
        """
        return (await self.listed(kind, namespace, labels))[0]

    async def listed(
        self,
        kind: Any,
        namespace: str,
        labels: Mapping[str, str] | None = None,
        keeps: Keeps = everything,
    ) -> tuple[list[Object], int]:
        """As `find`, also with the version of the list: newer objects are not in it."""

        async def listed() -> tuple[list[Object], int]:
            found: list[Object] = []
            at = "0"
            async for items, version, _ in self._pages(kind, namespace, labels, keeps):
                found += items
                at = version
            return found, int(at)

        return cast(tuple[list[Object], int], await self._call(listed()))

    async def _pages(
        self, kind: Any, namespace: str, labels: Mapping[str, str] | None, keeps: Keeps
    ) -> AsyncIterator[tuple[list[Object], str, bool]]:
        """The pages of a list: the used fields of its objects, its version, and if it is the last.

        The API server limits a page by its objects, so it is asked for few, for fewer after too
        large a page, and for more after a small one.
        """
        asked: dict[str, Any] = {"limit": PAGE}
        if labels:
            asked["labelSelector"] = build_selector(dict(labels))
        is_last = False
        while not is_last:
            async with self.reading:
                with _readable():
                    most = MOST_READ if asked["limit"] > 1 else None
                    data = await self._answer(
                        "list", kind, namespace=namespace, params=asked, most=most
                    )
                    if data is None:
                        asked["limit"] = max(asked["limit"] // 4, 1)
                        continue
                    found = msgspec.json.decode(data, type=_Page)
                    page = [obj for obj in (used(kind, raw) for raw in found.items) if keeps(obj)]
                    if len(data) < MOST_READ // 4:
                        asked["limit"] = min(asked["limit"] * 2, LARGEST_PAGE)
                    del data, found.items
            is_last = not found.metadata.next
            asked["continue"] = found.metadata.next
            yield page, found.metadata.resourceVersion, is_last

    async def _answer(
        self, method: str, kind: Any, *, most: int | None = None, **asked: Any
    ) -> bytes | None:
        """The body of an answer; None if it has more than `most` bytes."""
        async with self._response(method, kind, **asked) as response:
            if most is None:
                return bytes(await response.aread())
            parts, size = [], 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > most:
                    return None
                parts.append(part)
            return b"".join(parts)

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, kind: Any, **asked: Any
    ) -> AsyncIterator[httpx2.Response]:
        """The answer to a request, with its body unread. Raises its error."""
        client = self.client._client  # noqa: SLF001  (the library reads answers whole)
        request = client.prepare_request(method, kind, **asked)
        if asked.get("watch"):
            request.timeout = _WATCH_TIMEOUT
        response = await client.send(client.build_adapter_request(request), stream=True)
        try:
            if response.is_error:
                await response.aread()
            client.raise_for_status(response)
            yield response
        finally:
            await response.aclose()

    async def follow(
        self, kind: Any, namespace: str, keeps: Keeps = everything
    ) -> AsyncIterator[tuple[str, Object]]:
        """List, then watch until the API server no longer has the version to continue from.

        Objects that `keeps` rejects are dropped as they are read.
        Yields ("PART", {"items": [...]}) for each page of the list but the last, and once ("LIST",
        {"items": [...], "before": [...]}) with the last page and the names of all objects on the
        pages before. Then yields (ADDED|MODIFIED|DELETED, object). Objects have only the used
        fields. Raises NotFoundError if the kind does not exist (any more).
        """
        before: list[Object] = []
        version = ""
        try:
            async for items, at, is_last in self._pages(kind, namespace, None, keeps):
                version = at
                if is_last:
                    yield "LIST", {"items": items, "before": before}
                else:
                    before += [{"metadata": _named(item)} for item in items]
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
                continue
            except (ApiError, httpx2.HTTPStatusError) as error:
                if errors.code_of(error) == _LIST_AGAIN:
                    return
                if errors.is_missing(error):
                    raise NotFoundError(str(error)) from None
                raise
            finally:
                await events.aclose()

    async def _events(
        self, kind: Any, namespace: str, version: str
    ) -> AsyncGenerator[tuple[str, Object]]:
        """The changes since a version, until the API server ends the watch."""
        asked = {"resourceVersion": version, "timeoutSeconds": 2 * WATCH_SECONDS}
        async with self._response(
            "list", kind, namespace=namespace, watch=True, params=asked
        ) as response:
            async for line in response.aiter_lines():
                event = decode_watch_event(line.encode())
                if event.type == "ERROR":
                    raise ApiError(status=decode_status(event.object))
                yield event.type, used(kind, event.object)

    # --- writing ---

    async def put_scale(self, namespace: str, workload: str, replicas: int, version: str) -> None:
        """Set the replicas of a workload, named by its `ref`, if it is still at `version`.

        Raises ConflictError, NotFoundError.
        """
        kind, name = self._scale_of(workload)
        body = kind.from_dict(
            {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
                "spec": {"replicas": replicas},
            }
        )
        await self._write(lambda: self.client.replace(body, name=name, namespace=namespace))

    async def raise_scale(self, namespace: str, workload: str, version: str) -> None:
        """Set the replicas of a workload, named by its `ref`, to 1 if it is still at `version`.

        A JSON patch cannot test `replicas`, which is absent at 0. Raises ConflictError,
        NotFoundError.
        """
        kind, name = self._scale_of(workload)
        patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 1}}
        await self.merge(kind, namespace, name, patch)

    async def resize(self, key: Key, patch: Object) -> Object:
        """Set requests of a running pod by a strategic merge; return the pod.

        Nothing is set if another pod has the name now than the one whose uid the patch has. Raises
        ConflictError, NotFoundError.
        """
        try:
            return await self.merge(objects.PodResize, *key, patch, PatchType.STRATEGIC)
        except ApiError as error:
            details = error.status.details
            causes = (details.causes if details is not None else None) or ()
            if any(cause.field == "metadata.uid" for cause in causes):
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
        how: PatchType = PatchType.MERGE,
    ) -> Object:
        """Merge a patch into an object; if it names a resourceVersion, only at that one.

        Raises ConflictError, NotFoundError.
        """
        headers = {"Content-Type": how.value}
        return await self._written(
            "patch", kind, name=_segment(name), namespace=namespace, obj=patch, headers=headers
        )

    async def _object(self, method: str, kind: Any, **asked: Any) -> Object:
        """The used fields of the object in an answer."""
        data = await self._call(self._answer(method, kind, **asked))
        with _readable():
            return used(kind, data)

    async def _written(self, method: str, kind: Any, **asked: Any) -> Object:
        """The used fields of an object as it was written."""
        self._require_lead()
        return await self._object(method, kind, **asked)

    async def apply(self, kind: Any, obj: Object) -> Object:
        """Create a global object; one that is there gets these fields (a server-side apply)."""
        return await self._write(lambda: self.client.apply(kind(obj), force=True))

    async def offer(self, kind: Any, obj: Object, manager: str) -> Object:
        """Apply the fields of an object as a field manager that takes none from others.

        Raises ConflictError if another manager has set one of them to another value, NotFoundError,
        and ApiError for what the API server rejects.
        """
        meta, headers = obj["metadata"], {"Content-Type": PatchType.APPLY.value}
        where = {"name": _segment(meta["name"]), "namespace": meta["namespace"]}
        asked = {"fieldManager": manager}
        return await self._written("patch", kind, **where, obj=obj, headers=headers, params=asked)

    async def judged(self, kind: Any, obj: Object) -> Object:
        """An object as it would be created. Raises ApiError, also for unknown fields."""
        namespace, asked = obj["metadata"]["namespace"], {"dryRun": "All"}
        asked["fieldValidation"] = "Strict"
        return await self._written("post", kind, obj=kind(obj), namespace=namespace, params=asked)

    async def create(self, kind: Any, namespace: str, obj: Object) -> Object:
        """Create an object. Raises ConflictError when it exists."""
        return await self._written("post", kind, obj=kind(obj), namespace=namespace)

    async def replace(self, kind: Any, namespace: str | None, obj: Object) -> Object:
        """Replace an object at the version it carries. Raises ConflictError, NotFoundError."""
        return await self._written("put", kind, obj=kind(obj), namespace=namespace)

    async def delete(self, kind: Any, namespace: str, name: str) -> None:
        """Delete an object; a missing object is not an error."""
        with contextlib.suppress(NotFoundError):
            there = _segment(name)
            await self._write(lambda: self.client.delete(kind, there, namespace=namespace))

    async def _write(self, call: Callable[[], Awaitable[Any]]) -> Object:
        self._require_lead()
        return cast(Object, await self._call(call()))

    def _require_lead(self) -> None:
        if not self.may_write():
            raise errors.NotLeadingError("this operator no longer leads")

    async def _call(self, call: Awaitable[Any]) -> Any:
        try:
            with _readable():
                return await call
        except ApiError as error:
            if error.status.code == 409:
                raise ConflictError(str(error)) from None
            if error.status.code == 404:
                raise NotFoundError(str(error)) from None
            self.on_error(str(error.status.code))
            raise
        except Unreachable:
            self.on_error("unreachable")
            raise


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Raise UnreadableError for what the library raises for an unreadable response.

    A ConnectTimeout gets a message; the library's is empty.
    """
    try:
        yield
    except httpx2.ConnectTimeout:
        raise httpx2.ConnectTimeout(_NO_CONNECTION) from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise errors.UnreadableError(f"not a response of an API server: {error!r}") from None
