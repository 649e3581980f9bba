"""Manifests that are in no cluster: what may be in the file, and what is said of the rest."""

from pathlib import Path
from typing import Any

import pytest
from plugin.kit import PITCH, cron, demo_mode, manifest, write_manifest

YAML = """\
# A Deployment tells what one pod requests.
apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: voice}
    spec:
      template:
        spec:
          containers:
            - name: voice
              resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 250m}}
---
---
apiVersion: kotatsu.dev/v1alpha1
kind: WarmPool
metadata: {name: voice}
spec:
  targetRef: {name: voice}
  windows:
    - {name: w, start: 2026-11-25T10:00:00, end: 2026-11-25T12:00:00, replicas: 1}
    - {name: c, schedule: "0 9 * * *", duration: 1h, replicas: 1, excludeDates: [2026-11-25]}
  budget: {currency: EUR, prices: {cpuHour: "4", memoryGiBHour: "1"}}
"""


def test_times_without_quotes_are_text_as_they_are_for_kubectl(tmp_path: Path):
    (tmp_path / "p.yaml").write_text(YAML)
    words = ("--from", "2026-11-25T00:00", "--days", "1", "-o", "json")
    found = demo_mode("plan", "-f", str(tmp_path / "p.yaml"), *words).json
    assert [(r["kind"], r["at"][11:]) for r in found] == [
        ("prewarm", "09:58:52+00:00"),
        ("open", "10:00:00+00:00"),
        ("close", "12:00:00+00:00"),
    ]
    # A quarter of a core as requested, and a GiB as limited.
    assert found[1]["cost"] == pytest.approx(2 * (0.25 * 4 + 1))


def test_without_its_deployment_the_cost_is_open(tmp_path: Path):
    file = write_manifest(tmp_path / "p.json", manifest(windows=[PITCH]))
    found = demo_mode("plan", "-f", file, "-o", "json").json
    assert {r["cost"] for r in found} == {None}


def windows(*raw: Any) -> dict[str, Any]:
    return manifest(windows=list(raw))


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (manifest(timeZone="Mars/Olympus"), "'Mars/Olympus' is not an IANA time zone"),
        (windows(cron("w", "61 * * * *", "1h")), "is not a five-field cron schedule"),
        (windows(cron("w", "0 9 * * *", "soon")), "'soon' is not a duration"),
        (windows(PITCH | {"end": "2026-11-25T09:00"}), "is not after start"),
        (windows(PITCH | {"replicas": 0}), "needs replicas, a number from 1 on"),
        (windows(PITCH | {"replicas": 11}), "more replicas than scaling.maxReplicas (10)"),
        (windows(PITCH | {"duration": "1h"}), "either start and end, or schedule and duration"),
        (windows(PITCH, PITCH), "two windows have one name"),
        (windows({"replicas": 1}), "a window has no name"),
        (windows(cron("w", "0 9 * * *", "1h") | {"schedule": 9}), "put them in quotes"),
        (windows("w"), "spec.windows is not a list of windows"),
        (manifest(targetRef={}), "lacks spec.targetRef.name"),
        ({"kind": "WarmPool", "metadata": {"name": "x"}}, "lacks metadata.name or spec"),
        (manifest(scaling="many"), "spec.scaling is not a map"),
        (manifest(drain=[1]), "compare it with `kubectl explain warmpool.spec`"),
        ({"kind": "Deployment"}, "holds no WarmPool"),
        ({"name": "voice"}, "something without a kind"),
    ],
)
def test_a_manifest_that_cannot_be_is_answered_with_what_to_change(
    tmp_path: Path, raw: dict[str, Any], sentence: str
):
    ran = demo_mode("plan", "-f", write_manifest(tmp_path / "p.json", raw))
    assert (ran.code, ran.out) == (1, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_a_file_that_is_missing_or_not_yaml_is_named(tmp_path: Path):
    assert "No such file" in demo_mode("plan", "-f", str(tmp_path / "nix")).err
    (tmp_path / "bad.yaml").write_text("kind: WarmPool\nspec: {")
    assert "bad.yaml is not YAML in line" in demo_mode("plan", "-f", str(tmp_path / "bad.yaml")).err
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8 text" in demo_mode("plan", "-f", str(tmp_path / "bytes")).err
