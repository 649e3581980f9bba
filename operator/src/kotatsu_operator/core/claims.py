"""Which install serves a namespace: that of one namespace, or one of those for the whole cluster.

The Deployments of the activators of all releases say it, so that no object has to be written.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kotatsu_operator.core.formats import table, text
from kotatsu_operator.core.objects import Object, is_selector, selector_view, selects
from kotatsu_operator.core.protocol import SELECTOR_ANNOTATION, SHARD_LABEL, SHARED_ANNOTATION

_INSTANCE = "app.kubernetes.io/instance"
_RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
"""Annotation by Helm. Activators of one namespace are not in that of their release."""

NEVER = "kube-"
"""Prefix of the namespaces of Kubernetes itself."""

Release = tuple[str, str]
"""The namespace and the name of a release."""

_YOUNGEST = ("~", "")
"""The age of an install without a Deployment: any other one is older."""


def read_selector(given: str) -> Mapping[str, Any]:
    """A label selector, from JSON. Raises ValueError with a sentence for people."""
    try:
        read = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(read, Mapping) or read.keys() - {"matchLabels", "matchExpressions"}:
        raise ValueError('write it like {"matchLabels": {"team": "shop"}}')
    if not is_selector(read):
        raise ValueError("its terms are not those of a label selector of Kubernetes")
    return selector_view(read)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The relevant fields of a Namespace."""

    labels: Mapping[str, str]
    is_ending: bool
    """Whether it is being deleted: nothing can be created there any more."""
    shares: bool
    """Whether its owner accepts that requests come from activators that others share."""


def namespace_of(obj: Object) -> Namespace:
    meta = table(obj.get("metadata"))
    notes = table(meta.get("annotations"))
    return Namespace(
        table(meta.get("labels")),
        is_ending=bool(meta.get("deletionTimestamp")),
        shares=notes.get(SHARED_ANNOTATION) == "true",
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """The namespaces that the activators of one Deployment serve, unless another claim precedes."""

    release: Release
    namespace: str = ""
    """The only one, which its activators are in; empty for those of a selector."""
    selector: Mapping[str, Any] = field(default_factory=dict)
    """The label selector of the namespaces."""
    since: tuple[str, str] = _YOUNGEST
    """When the Deployment was created, and its uid."""

    @property
    def text(self) -> str:
        return f"release {self.release[1]} in namespace {self.release[0]}"

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        if self.namespace:
            return namespace == self.namespace
        return not namespace.startswith(NEVER) and selects(self.selector, labels)


def claim_of(deployment: Object) -> Claim | None:
    """The claim of a Deployment of activators; None if it makes none that can be read."""
    meta = table(deployment.get("metadata"))
    labels, notes = table(meta.get("labels")), table(meta.get("annotations"))
    here, name = text(meta.get("namespace")), text(labels.get(_INSTANCE))
    since = text(meta.get("creationTimestamp")), text(meta.get("uid"))
    if meta.get("deletionTimestamp"):
        return None
    if SHARD_LABEL not in labels:
        home = text(notes.get(_RELEASE_NAMESPACE)) or here
        return Claim((home, name), namespace=here, since=since)
    try:
        selector = read_selector(text(notes.get(SELECTOR_ANNOTATION)))
    except ValueError:
        return None
    return Claim((here, name), selector=selector, since=since)


@dataclass(frozen=True)
class Claims:
    """All claims, from the point of view of one install for the whole cluster."""

    mine: Claim
    isolated: Mapping[str, Claim] = field(default_factory=dict)
    """Those of single namespaces."""
    shared: tuple[Claim, ...] = ()
    """Those of other installs for the whole cluster that are older."""

    def of(self, namespace: str, labels: Mapping[str, str]) -> Claim | None:
        """The claim on a namespace: that of the namespace alone, or the oldest; None for none."""
        if (own := self.isolated.get(namespace)) is not None:
            return own
        claims = (*self.shared, self.mine)
        return next((claim for claim in claims if claim.selects(namespace, labels)), None)


def claims_of(
    release: Release, selector: Mapping[str, Any], found: Iterable[Claim | None]
) -> Claims:
    """The claims that precede those of a release with this selector, and its own."""
    others = list[Claim]()
    since = _YOUNGEST
    for claim in found:
        if claim is None:
            continue
        if claim.release != release:
            others.append(claim)
        elif not claim.namespace:
            since = min(since, claim.since)
        # Activators of this release in one namespace are left from before it was for all of them.
    return Claims(
        Claim(release, selector=selector, since=since),
        {claim.namespace: claim for claim in others if claim.namespace},
        tuple(
            sorted(
                (claim for claim in others if not claim.namespace and claim.since < since),
                key=lambda claim: claim.since,
            )
        ),
    )
