"""The packaged CRD, and how it comes over the cluster's before an upgrade."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chart.kit import Object, crd

from kotatsu_operator.jobs import crds
from kotatsu_operator.kube.errors import ApiError, ConflictError, NotFoundError

# What apiextensions.k8s.io/v1 JSONSchemaProps knows of what we use.
KEYWORDS = {
    "type", "description", "format", "default", "enum", "pattern", "minimum", "maximum",
    "minLength", "maxLength", "maxProperties", "minItems", "maxItems", "required", "properties",
    "items",
    "additionalProperties", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-map-type",
}  # fmt: skip


PLURALS = ("warmpools", "warmpoolhistories", "warmpoolsets")


@pytest.mark.parametrize("plural", PLURALS)
def test_a_crd_has_no_unknown_keyword(plural: str) -> None:
    for path, node in _fields(plural):
        assert set(node) <= KEYWORDS, path


@pytest.mark.parametrize("plural", PLURALS)
def test_every_field_of_a_crd_is_described(plural: str) -> None:
    for path, node in _fields(plural):
        if path.startswith(("spec.", "status.", "record")) and not path.endswith("[]"):
            assert node.get("description"), path


def test_the_spec_has_few_fields() -> None:
    """`kubectl explain` of it is one page (decisions 70 and 98)."""
    paths = [path for path, _ in _nodes(crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])]
    fields = [p for p in paths if p.startswith("spec.") and not p.endswith("[]")]
    assert len(fields) <= 48, fields


def test_a_status_has_few_fields_for_people() -> None:
    """All levels together. What only Kotatsu reads is in `internal`, without a schema."""
    shown = [path for path, _ in _fields("warmpools") if path.startswith("status.")]
    assert len([path for path in shown if not path.endswith("[]")]) <= 48


def test_a_status_loses_no_field_of_another_version() -> None:
    status = dict(_fields("warmpools"))["status"]
    for node in (status, status["properties"]["internal"]):
        assert node["x-kubernetes-preserve-unknown-fields"] is True


@pytest.mark.parametrize("plural", PLURALS)
def test_a_crd_tells_its_revision(plural: str) -> None:
    assert crds.revision(crd(plural)) >= 1


def test_a_newer_crd_replaces_the_spec_and_keeps_what_others_wrote() -> None:
    old = _crd(1, "old", labels={"team": "demo"})

    new = crds.replacement(old, _crd(2, "new"))

    assert new is not None
    assert new["spec"] == {"group": "new"}
    assert new["metadata"]["labels"] == {"team": "demo"}
    assert new["metadata"]["annotations"][crds.REVISION] == "2"
    assert new["metadata"]["resourceVersion"] == "7"


def test_a_crd_without_a_revision_is_the_oldest() -> None:
    plain = _crd(1, "x")
    plain["metadata"]["annotations"] = {}

    assert crds.revision(plain) == 0
    assert crds.replacement(plain, _crd(1, "y")) is not None


async def test_a_change_in_between_is_read_again() -> None:
    client, said = _Client(_crd(1, "old"), conflicts=2), list[str]()

    await crds.upgrade(client, _crd(2, "new"), said.append)

    assert client.installed["spec"] == {"group": "new"}
    assert client.reads == 3
    assert said == ["warmpools.kotatsu.dev: revision 2 is in place (was 1)"]


async def test_endless_changes_end_with_a_sentence() -> None:
    with pytest.raises(ConflictError, match="has been modified"):
        await crds.upgrade(_Client(_crd(1, "old"), conflicts=99), _crd(2, "new"))


async def test_a_newer_cluster_is_left_alone_and_told() -> None:
    client, said = _Client(_crd(5, "newer")), list[str]()

    await crds.upgrade(client, _crd(2, "packaged"), said.append)

    assert client.installed["spec"] == {"group": "newer"}
    assert "newer than the packaged 2" in said[0]


async def test_a_crd_that_is_not_there_is_created() -> None:
    client, said = _Client(_crd(1, "old"), missing=True), list[str]()

    await crds.upgrade(client, _crd(2, "new"), said.append)

    assert client.installed["spec"] == {"group": "new"}
    assert said == ["warmpools.kotatsu.dev: created"]


async def test_a_crd_that_may_not_be_created_is_left_to_what_installs_it() -> None:
    client, said = _Client(_crd(1, "old"), missing=True, forbidden=True), list[str]()

    await crds.upgrade(client, _crd(2, "new"), said.append)

    assert client.installed["spec"] == {"group": "old"}
    assert "not installed, so there is nothing to replace" in said[0]


def test_a_refusal_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "warmpools.kotatsu.dev.json").write_text(json.dumps(_crd(2, "new")))
    refusing = _Client(_crd(1, "old"), refuse=True)
    monkeypatch.setattr(crds.Kube, "connect", lambda _: refusing)

    assert crds.main([str(tmp_path)]) == 1

    message = capsys.readouterr().err
    assert "must have storedVersions" in message
    assert "kubectl apply --server-side" in message


def test_it_takes_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert crds.main([]) == 2
    assert "usage" in capsys.readouterr().err


def _fields(plural: str) -> Iterator[tuple[str, Any]]:
    return _nodes(crd(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def _crd(revision: int, group: str, labels: dict[str, str] | None = None) -> Object:
    return {
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "warmpools.kotatsu.dev",
            "resourceVersion": "7",
            "annotations": {crds.REVISION: str(revision)},
            **({"labels": labels} if labels else {}),
        },
        "spec": {"group": group},
    }


class _Client:
    """The API server's one CRD; refuses the first `conflicts` writes as too late."""

    def __init__(
        self,
        installed: Object,
        conflicts: int = 0,
        refuse: bool = False,
        missing: bool = False,
        forbidden: bool = False,
    ) -> None:
        self.installed, self.conflicts, self.refuse, self.reads = installed, conflicts, refuse, 0
        self.missing, self.forbidden = missing, forbidden

    async def get(self, kind: Any, namespace: None, name: str) -> Object:
        self.reads += 1
        if self.missing:
            raise NotFoundError(f'customresourcedefinitions "{name}" not found')
        return self.installed

    async def apply(self, kind: Any, obj: Object) -> Object:
        if self.forbidden:
            raise ApiError(403, "customresourcedefinitions is forbidden")
        self.installed = obj
        return obj

    async def replace(self, kind: Any, namespace: None, obj: Object) -> Object:
        if self.refuse:
            raise ApiError(422, "spec.versions must have storedVersions")
        if self.conflicts:
            self.conflicts -= 1
            raise ConflictError("the object has been modified")
        self.installed = obj
        return obj

    async def close(self) -> None:
        pass


def _nodes(node: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in node:
        yield from _nodes(node["items"], f"{path}[]")
