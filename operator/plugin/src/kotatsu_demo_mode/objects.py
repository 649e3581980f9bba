"""Objects of the cluster as the API server sends them, and their paths."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kotatsu_operator.core.formats import table, text
from kotatsu_operator.core.objects import workload_selector

Object = dict[str, Any]


@dataclass(frozen=True)
class Objects:
    """The objects of one kind, or why they are unknown."""

    items: Sequence[Object] = ()
    unread: str = ""
    """Why they could not be read; empty if they were."""
    has_more: bool = False
    """Whether there are more than were read."""


NONE = Objects()


def path_of(api_version: str, plural: str, namespace: str, name: str = "") -> str:
    """The path of an object, or of the list of a namespace's objects ("": of all)."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"{root}/namespaces/{quote(namespace)}/{plural}" if namespace else f"{root}/{plural}"
    return f"{place}/{quote(name)}" if name else place


def name_of(obj: Mapping[str, Any]) -> str:
    return text(table(obj.get("metadata")).get("name")) or text(obj.get("name"))


def spec_of(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(obj.get("spec"))


def pod_spec_of(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The PodSpec of a workload's template; empty without one."""
    return table(table(table(workload.get("spec")).get("template")).get("spec"))


def labels_of(namespace: Objects) -> Mapping[str, str] | None:
    """The labels of a Namespace; None if it was not read."""
    found = [table(obj.get("metadata")) for obj in namespace.items]
    return {k: text(v) for k, v in table(found[0].get("labels")).items()} if found else None


def label_query(workload: Mapping[str, Any]) -> str:
    """The label selector of a workload as the query of a list has it; empty for none."""
    selector = workload_selector(workload)
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for term in selector.get("matchExpressions") or ():
        key, values = term["key"], ",".join(sorted(term.get("values") or ()))
        forms = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(forms[term["operator"]])
    return ",".join(parts)


def managers_of(raw: Object, field: str) -> Iterator[tuple[str, str, Object]]:
    """The managers of a field of the spec: name, operation, and the parts that they own."""
    for entry in raw["metadata"].get("managedFields") or ():
        parts = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get(f"f:{field}")
        if parts is not None:
            name = str(entry.get("manager") or "an unnamed manager")
            yield name, str(entry.get("operation") or ""), parts
