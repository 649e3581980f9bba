"""Install the platform and the pet, and give the pet's voice a window."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kotatsu_demo.errors import DemoError
from kotatsu_demo.images import ROOT, Built, image_values
from kotatsu_demo.kube import HELM_SECONDS, Kube
from kotatsu_demo.windows import IDLE_AFTER, ZONE_NAME, Window
from kotatsu_node.progress import Progress

PLATFORM, PET = "kotatsu", "pet"
VALUES = ROOT / "tools" / "demo"
"""The folder of values that anybody may copy: example prices, a voice for everybody."""
POOL = "voice"
GEMINI = "gemini"
"""Secret with the key for POST /talk."""

OURS = "kotatsu.dev/demo"
"""Label of a namespace that the demo made, and may delete."""
_BROUGHT_CRD = "kotatsu.dev/demo-brought-crd"
INSTALL_LABEL = "kotatsu.dev/install"
"""Label of a namespace: the install that serves it, by the namespace of its release."""
CRD = "warmpools.kotatsu.dev"
FURTHER_CRDS = ("warmpoolhistories.kotatsu.dev", "warmpoolsets.kotatsu.dev")


class Installation:
    """The two releases in one namespace of one cluster."""

    def __init__(
        self, kube: Kube, pull_policy: str, progress: Progress, gemini_key: str | None = None
    ) -> None:
        self._kube, self._pull_policy, self._progress = kube, pull_policy, progress
        self._gemini_key = gemini_key or None
        self._window: Window | None = None

    def install(self, built: Sequence[Built]) -> None:
        """Install or upgrade both, with no window, and wait until they run."""
        self._namespace()
        with self._progress.step(f"helm upgrade --install {PLATFORM} charts/{PLATFORM}"):
            # Only the demo's own namespace, so that it can stand beside an install for all of them.
            self._upgrade(PLATFORM, self._values(PLATFORM, built) | {"serveUnlabeled": False})
        with self._progress.step(f"helm upgrade --install {PET} charts/{PET}"):
            if self._gemini_key is not None:
                self._kube.apply(_gemini_secret(self._kube.namespace, self._gemini_key))
            self._upgrade_pet(built)

    def open_window(self, built: Sequence[Built], window: Window) -> None:
        """Give the voice's pool its window."""
        self._window = window
        self._upgrade_pet(built)

    def complete(self, built: Sequence[Built]) -> None:
        """Install what of the pet was left out so far; the voice then knows where auth is."""
        with self._progress.step(f"helm upgrade {PET}: the rest of the app"):
            self._upgrade_pet(built)

    def remove(self) -> None:
        """Uninstall what the demo installed: releases, namespace, and the CRD if it brought it."""
        namespace = self._kube.get("namespace", self._kube.namespace)
        if namespace is None:
            self._progress.say(f"there is no namespace {self._kube.namespace}: nothing to remove")
            return
        labels = _refuse_foreign(namespace)
        for release in (PET, PLATFORM):
            with self._progress.step(f"helm uninstall {release}"):
                self._kube.helm(
                    "uninstall", release, "--ignore-not-found", "--wait", "--timeout=2m"
                )
        with self._progress.step(f"delete namespace {self._kube.namespace}"):
            self._kube.kubectl("delete", "namespace", self._kube.namespace, timeout=180)
        if _BROUGHT_CRD in labels:
            self._remove_crd()

    def _remove_crd(self) -> None:
        others = self._kube.kubectl("get", "warmpools", "-A", "-o", "name").split()
        if others:
            self._progress.say(f"{CRD} stays: {len(others)} WarmPools elsewhere use it")
        else:
            self._kube.kubectl("delete", "crd", CRD, *FURTHER_CRDS, "--ignore-not-found")

    def _namespace(self) -> None:
        name = self._kube.namespace
        found = self._kube.get("namespace", name)
        if found is not None:
            _refuse_foreign(found)
            return
        labels = {OURS: "true", "pod-security.kubernetes.io/enforce": "restricted"}
        labels[INSTALL_LABEL] = name
        if self._kube.get("crd", CRD) is None:
            labels[_BROUGHT_CRD] = "true"
        metadata = {"name": name, "labels": labels}
        self._kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def _upgrade(self, release: str, values: Mapping[str, Any]) -> None:
        static = ("--values", str(VALUES / f"{release}-values.yaml"))
        self._kube.helm(
            *("upgrade", "--install", release, str(_chart(release)), *static),
            *("--wait", f"--timeout={HELM_SECONDS}s"),
            values=values,
        )

    def _upgrade_pet(self, built: Sequence[Built]) -> None:
        values = pet_values(self._values(PET, built), self._window)
        if self._gemini_key is not None:
            values[POOL]["gemini"] = {"existingSecret": GEMINI}
        self._upgrade(PET, values)

    def _values(self, chart: str, built: Sequence[Built]) -> dict[str, Any]:
        defaults = yaml.safe_load((_chart(chart) / "values.yaml").read_text())
        return image_values(chart, defaults, built, self._pull_policy)


def has_gateway(kube: Kube) -> bool:
    """Whether the pet has one base URL for its services, which comes last."""
    return kube.get("service", "gateway") is not None


def pet_values(images: Mapping[str, Any], window: Window | None) -> dict[str, Any]:
    """The values that change from run to run, beside those of the file."""
    pool: dict[str, Any] = {
        "idleAfter": f"{IDLE_AFTER.total_seconds():.0f}s",
        "windows": [] if window is None else [window.as_value()],
    }
    if window is not None:
        pool["lead"] = window.lead
    values: dict[str, Any] = json.loads(json.dumps(images))
    values["timeZone"] = ZONE_NAME
    values.setdefault(POOL, {})["pool"] = pool
    return values


def _gemini_secret(namespace: str, key: str) -> dict[str, Any]:
    """It goes to kubectl on standard input, so the key is in no command line and no values."""
    metadata = {"name": GEMINI, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "stringData": {"api-key": key},
    }


def _chart(name: str) -> Path:
    return ROOT / "charts" / name


def _refuse_foreign(namespace: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a namespace of ours; DemoError for anybody else's."""
    labels = dict(namespace["metadata"].get("labels") or {})
    if OURS not in labels:
        name = namespace["metadata"]["name"]
        raise DemoError(
            f"the namespace {name} was not made by the demo, so it is left alone",
            hint="use another one: python -m kotatsu_demo --namespace NAME …",
        )
    return labels
