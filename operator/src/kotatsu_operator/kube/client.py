"""The Kubernetes calls that operator and activator make; every write names the version it read.

Objects are plain dicts as the API server sends them: the two programs read a handful of fields of
each, and a dict never refuses a field it does not know.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.types import PatchType

from kotatsu_operator.kube.errors import (
    ConflictError,
    NotFoundError,
    NotLeadingError,
    Unreachable,
    UnreadableError,
    _code_of,
    is_missing,
)
from kotatsu_operator.kube.resources import Deployment, HorizontalPodAutoscaler, Object, WarmPool

log = logging.getLogger(__name__)


WATCH_SECONDS = 30
"""A stream that says nothing for this long is not trusted: another takes over where it stood."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before a kind is listed again: twice as many each time, until a watch lasts longer."""


_LIST_AGAIN = 410
"""What the API server answers (Gone) when the versions to go on from are too old."""


@dataclass(frozen=True)
class Scale:
    """A target's scale as read: `replicas`, and the version to write it back with."""

    replicas: int
    version: str


_SEGMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def _segment(name: str) -> str:
    """A name as a part of a request's path; NotFoundError for one that no object can have.

    Names come from specs, statuses and ConfigMaps that others write, and the HTTP client takes the
    dots out of `../../other/deployments/web`.
    """
    if _SEGMENT.fullmatch(name) is None:
        raise NotFoundError(f"{name!r} is not the name of an object")
    return name


def version_of(obj: Mapping[str, Any]) -> int:
    """The resourceVersion as a number: the API server's versions only grow."""
    try:
        return int(obj["metadata"]["resourceVersion"])
    except (KeyError, ValueError):
        return 0


class Kube:
    """The calls, over one connection pool. `actor` is the field manager of every write."""

    def __init__(
        self,
        client: AsyncClient,
        may_write: Callable[[], bool] = lambda: True,
        on_error: Callable[[str], None] = lambda _: None,
        more: Callable[[], AsyncClient] | None = None,
    ) -> None:
        # The library's overloads want typed models; ours are dicts.
        self._client: Any = client
        self._may_write = may_write
        self._on_error = on_error
        self._more = more
        self._apart: list[Kube] = []

    @classmethod
    def connect(cls, actor: str, on_error: Callable[[str], None] = lambda _: None) -> "Kube":
        """Connect with the pod's service account, or with KUBECONFIG outside of a cluster.

        `on_error` is told of each call that the API refused or did not answer: its status code, or
        `unreachable`. Conflicts and objects that are not there are answers like any other.
        """

        def client() -> AsyncClient:
            return AsyncClient(field_manager=actor, timeout=httpx2.Timeout(10.0))

        return cls(client(), on_error=on_error, more=client)

    def guarded(self, may_write: Callable[[], bool]) -> "Kube":
        """The same connections, but a write raises NotLeadingError unless `may_write()`.

        A Lease does not fence: a process that stood still may wake up in the middle of a look,
        long after another has taken over, and goes on from there.
        """
        return Kube(self._client, may_write, self._on_error)

    def apart(self) -> "Kube":
        """The same API server over connections of its own, closed with these.

        A connection pool has an end: whoever must not wait behind a thousand others gets another.
        """
        if self._more is None:
            return self
        made = Kube(self._more(), self._may_write, self._on_error, self._more)
        self._apart.append(made)
        return made

    async def close(self) -> None:
        """Close the connections."""
        for other in self._apart:
            await other.close()
        await self._client.close()

    # --- reading ---

    async def get(self, kind: Any, namespace: str, name: str) -> Object:
        """Read one object. Raises NotFoundError."""
        return cast(
            Object, await self._call(self._client.get(kind, _segment(name), namespace=namespace))
        )

    async def get_scale(self, namespace: str, name: str) -> Scale:
        """Read a Deployment's scale; at 0 the API leaves `replicas` out. Raises NotFoundError."""
        scale = self._client.get(Deployment.Scale, _segment(name), namespace=namespace)
        found = await self._call(scale)
        replicas = found.spec.replicas if found.spec is not None else None
        return Scale(replicas or 0, found.metadata.resourceVersion)

    async def serves(self, kind: Any, namespace: str) -> bool:
        """Whether the API server knows this kind at all."""
        try:
            with _readable():
                async for _ in self._client.list(kind, namespace=namespace, chunk_size=1):
                    break
        except Unreachable as error:
            if is_missing(error):
                return False
            raise
        return True

    async def find(
        self, kind: Any, namespace: str, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Read all objects with these labels. Raises NotFoundError when there is no such kind."""
        items, _ = await self._call(self._list(kind, namespace, labels))
        return cast(list[Object], items)

    async def _list(
        self, kind: Any, namespace: str, labels: Mapping[str, str] | None
    ) -> tuple[list[Object], str]:
        listing = self._client.list(kind, namespace=namespace, labels=labels)
        with _readable():
            items = [cast(Object, item) async for item in listing]
        return items, listing.resourceVersion

    async def follow(
        self, kind: Any, namespace: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[str, Object]]:
        """List, then watch, until the API server has forgotten the version to go on from.

        Yields ("LIST", {"items": [...]}) once, then (ADDED|MODIFIED|DELETED, object). Raises
        NotFoundError when there is no such kind (any more).
        """
        try:
            items, version = await self._list(kind, namespace, labels)
        except Unreachable as error:
            if is_missing(error):
                raise NotFoundError(str(error)) from None
            raise
        yield "LIST", {"items": items}
        while True:
            watch = self._client.watch(
                kind,
                namespace=namespace,
                labels=labels,
                server_timeout=2 * WATCH_SECONDS,
                resource_version=version,
            )
            try:
                while True:
                    async with asyncio.timeout(WATCH_SECONDS):
                        with _readable():
                            change, obj = await anext(watch)
                            version = obj["metadata"]["resourceVersion"]
                    yield change, cast(Object, obj)
            except TimeoutError:
                continue
            except (ApiError, httpx2.HTTPStatusError) as error:
                if _code_of(error) == _LIST_AGAIN:
                    return
                if is_missing(error):
                    raise NotFoundError(str(error)) from None
                raise
            finally:
                await watch.aclose()

    # --- writing ---

    async def put_scale(self, namespace: str, name: str, replicas: int, version: str) -> None:
        """Set a Deployment's replicas if it is still at `version`.

        Raises ConflictError, NotFoundError.
        """
        _segment(name)
        body = Deployment.Scale.from_dict(
            {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
                "spec": {"replicas": replicas},
            }
        )
        await self._write(lambda: self._client.replace(body, name=name, namespace=namespace))

    async def raise_scale(self, namespace: str, name: str, version: str) -> None:
        """Set replicas to 1 if the Deployment is still at `version`.

        Raises ConflictError, NotFoundError.

        A merge patch that carries the version: a JSON patch cannot test a field that is absent at
        0, and a patch without the version could cut 5 replicas to 1 as a window opens.
        """
        patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 1}}
        await self._patch(Deployment.Scale, namespace, name, patch)

    async def put_minimum(self, namespace: str, name: str, replicas: int, version: str) -> None:
        """Set a HorizontalPodAutoscaler's minReplicas if it is still at `version`.

        Raises ConflictError, NotFoundError.
        """
        patch = {"metadata": {"resourceVersion": version}, "spec": {"minReplicas": replicas}}
        await self._patch(HorizontalPodAutoscaler, namespace, name, patch)

    async def patch_status(
        self, namespace: str, name: str, status: Object, version: str | None = None
    ) -> Object:
        """Merge into a WarmPool's status; with `version` only if it is still at that version."""
        patch: Object = {"status": status}
        if version is not None:
            patch["metadata"] = {"resourceVersion": version}
        return cast(Object, await self._patch(WarmPool.Status, namespace, name, patch))

    async def annotate(
        self,
        kind: Any,
        namespace: str,
        name: str,
        annotations: Mapping[str, str | None],
        version: str,
    ) -> Object:
        """Set annotations (None takes one away) of an object that is still at `version`.

        Raises ConflictError, NotFoundError.
        """
        patch = {"metadata": {"resourceVersion": version, "annotations": dict(annotations)}}
        return cast(Object, await self._patch(kind, namespace, name, patch))

    async def create(self, kind: Any, namespace: str, obj: Object) -> Object:
        """Create an object. Raises ConflictError when it exists."""
        return cast(
            Object, await self._write(lambda: self._client.create(kind(obj), namespace=namespace))
        )

    async def replace(self, kind: Any, namespace: str, obj: Object) -> Object:
        """Replace an object at the version it carries. Raises ConflictError, NotFoundError."""
        return cast(
            Object, await self._write(lambda: self._client.replace(kind(obj), namespace=namespace))
        )

    async def delete(self, kind: Any, namespace: str, name: str) -> None:
        """Delete an object; one that is gone already is fine."""
        with contextlib.suppress(NotFoundError):
            there = _segment(name)
            await self._write(lambda: self._client.delete(kind, there, namespace=namespace))

    async def _patch(self, kind: Any, namespace: str, name: str, patch: Object) -> Any:
        _segment(name)
        return await self._write(
            lambda: self._client.patch(
                kind, name, patch, namespace=namespace, patch_type=PatchType.MERGE
            )
        )

    async def _write(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if not self._may_write():
            raise NotLeadingError("this operator does not lead any more")
        return await self._call(call())

    async def _call(self, call: Awaitable[Any]) -> Any:
        try:
            with _readable():
                return await call
        except ApiError as error:
            if error.status.code == 409:
                raise ConflictError(str(error)) from None
            if error.status.code == 404:
                raise NotFoundError(str(error)) from None
            self._on_error(str(error.status.code))
            raise
        except Unreachable:
            self._on_error("unreachable")
            raise


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn what the library raises over an answer that it cannot read into an UnreadableError."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnreadableError(f"not an answer of an API server: {error!r}") from None


async def follow_forever(
    kube: Kube,
    kind: Any,
    namespace: str,
    on_change: Callable[[str, Object], Awaitable[None] | None],
    labels: Mapping[str, str] | None = None,
    *,
    on_error: Callable[[Exception], None] = lambda _: None,
    may_go: bool = False,
) -> None:
    """Keep a view of one kind fresh: list and watch again after every end, with a short pause.

    What `on_change` returns is waited for before the next change. `on_error` is called with the
    error of each try that failed. With `may_go`, raises NotFoundError once the API server does not
    serve the kind any more.
    """
    clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
    while True:
        began = clock()
        try:
            async for change, obj in kube.follow(kind, namespace, labels):
                if (told := on_change(change, obj)) is not None:
                    await told
        except (NotFoundError, *Unreachable) as error:
            if may_go and isinstance(error, NotFoundError):
                raise
            log.warning(
                "cannot watch %s in %s: %s; again in %.1f s", kind.__name__, namespace, error, pause
            )
            on_error(error)
        # Also where it only has to be listed again: an API server that calls each version too old
        # would be asked for lists without an end.
        if clock() - began > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
