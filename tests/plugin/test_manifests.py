"""Manifests that are in no cluster: what may be in the file, and what is said of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest
from plugin.apiserver import Api
from plugin.kit import PITCH, cron, demo_mode, manifest, write_manifest
from rows import each

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
apiVersion: kotatsu.dev/v1beta1
kind: WarmPool
metadata: {name: voice}
spec:
  targetRef: {name: voice}
  windows:
    - {name: w, start: 2026-11-25T10:00:00, end: 2026-11-25T12:00:00, replicas: 1}
    - {name: c, schedule: "0 9 * * *", duration: 1h, replicas: 1, excludeDates: [2026-11-25]}
status: {cost: {currency: EUR}, internal: {cost: {podPerHour: "2"}}}
"""


def test_times_without_quotes_are_text_as_they_are_for_kubectl(tmp_path: Path):
    (tmp_path / "p.yaml").write_text(YAML)
    words = ("--from", "2026-11-25T00:00", "--days", "1", "-o", "json")
    found = demo_mode("plan", "-f", str(tmp_path / "p.yaml"), *words).json["transitions"]
    assert [(r["kind"], r["at"][11:]) for r in found] == [
        ("prewarm", "09:58:52+00:00"),
        ("open", "10:00:00+00:00"),
        ("close", "12:00:00+00:00"),
    ]
    assert found[1]["cost"] == 2 * 2


def test_without_the_operators_price_the_cost_is_open(tmp_path: Path):
    file = write_manifest(tmp_path / "p.json", manifest(windows=[PITCH]) | {"status": {}})
    found = demo_mode("plan", "-f", file, "-o", "json").json["transitions"]
    assert {r["cost"] for r in found} == {None}


def windows(*raw: Any) -> dict[str, Any]:
    return manifest(windows=list(raw))


TEXT = cron("w", "0 9 * * *", "1h")
REFUSED = {
    "an unknown zone": (manifest(timeZone="Mars/Olympus"), "is not an IANA time zone"),
    "a bad schedule": (windows(cron("w", "61 * * * *", "1h")), "not a five-field cron schedule"),
    "a bad duration": (
        windows(cron("w", "0 9 * * *", "soon")),
        "spec.windows[0].duration is 'soon', not a duration like 90s",
    ),
    "an end before the start": (
        windows(PITCH | {"end": "2026-11-25T09:00"}),
        "end 2026-11-25T09:00 is not after start 2026-11-25T10:00",
    ),
    "two kinds of window in one": (
        windows(PITCH | {"duration": "1h"}),
        "give either start and end (once), or schedule and duration (repeating)",
    ),
    "no replicas": (windows(PITCH | {"replicas": 0}), "[0].replicas must be at least 1"),
    "two windows of one name": (windows(PITCH, PITCH), "spec.windows has 'final-pitch' twice"),
    "a window without a name": (windows({"replicas": 1}), "spec.windows[0].name is missing"),
    "a schedule that is a number": (windows(TEXT | {"schedule": 9}), "must be text (put it in quo"),
    "override that is text": (manifest(override="on"), "spec.override must be a map"),
    "a mode that is none": (
        manifest(override={"mode": "Hot", "until": "2026-11-25T12:00:00Z"}),
        "spec.override.mode must be one of Warm, Asleep",
    ),
    "excludeDates beside the windows": (
        manifest(windows=[TEXT], excludeDates=["2026-11-25"]),
        "did you mean spec.windows[0].excludeDates?",
    ),
    "a field in another case": (manifest(timezone="UTC"), "did you mean spec.timeZone?"),
    "a field of another place": (
        manifest(limit="5"),
        "did you mean spec.budget.limit?",
    ),
    "a field that is nowhere": (
        windows(TEXT | {"color": "red"}),
        "spec.windows[0].color is not a field of a WarmPool; spec.windows[0] has name, replicas",
    ),
    "a field beside spec": (manifest() | {"windows": []}, "windows is not a field of a WarmPool"),
    "another version": (
        manifest() | {"apiVersion": "kotatsu.dev/v2"},
        "write kotatsu.dev/v1beta1",
    ),
}


@each("raw, sentence", REFUSED)
def test_a_manifest_that_the_api_server_would_refuse_is_answered_with_what_to_change(
    tmp_path: Path, raw: dict[str, Any], sentence: str
):
    ran = demo_mode("plan", "-f", write_manifest(tmp_path / "p.json", raw))
    assert (ran.code, ran.out) == (1, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


# The API server accepts these; the operator refuses them, in the condition Accepted.
THE_OPERATORS = {"an unknown zone", "a bad schedule"}


@pytest.mark.slow  # an API server takes seconds to start
def test_the_api_server_refuses_them_too(server: Api):
    named = {name.replace(" ", "-").lower(): raw for name, (raw, _) in REFUSED.items()}
    objects = [raw | {"metadata": {"name": name}} for name, raw in named.items()]
    command = ("create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-")
    # kubectl goes on after each refusal.
    done = server.run(*command, stdin="\n---\n".join(json.dumps(o) for o in objects))
    taken = {line.partition("/")[2] for line in done.stdout.splitlines()}
    assert taken == {name.replace(" ", "-") for name in THE_OPERATORS}
    refusals = [line for line in done.stderr.splitlines() if not line.startswith("ensure CRDs")]
    assert len(refusals) == len(REFUSED) - len(THE_OPERATORS), done.stderr


@each(
    "raw, sentence",
    [
        ({"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPool"}, "has no metadata.name"),
        (manifest() | {"spec": None}, "spec must be a map"),
        ({"kind": "Deployment"}, "contains no WarmPool"),
        ({"name": "voice"}, "an object without a kind"),
    ],
)
def test_what_is_no_warm_pool_is_said(tmp_path: Path, raw: dict[str, Any], sentence: str):
    ran = demo_mode("plan", "-f", write_manifest(tmp_path / "p.json", raw))
    assert (ran.code, ran.out) == (1, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


LAUGHS = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 31))]


@each(
    "text, sentence",
    [
        ("spec: {timeZone: UTC, timeZone: Asia/Tokyo}", "has the field timeZone twice"),
        ('{"kind": "WarmPool", "spec": {}, "spec": {}}', "has the field spec twice"),
        ("kind: WarmPool\nspec: !!int many", "has a value that does not match its YAML tag"),
        ("kind: WarmPool\nspec: !!bool many", "has a value that does not match its YAML tag"),
        ('kind: WarmPool\nspec: !!float ""', "has a value that does not match its YAML tag"),
        ("[" * 5000, "p.yaml"),
        ('{"a":' * 100000, "p.yaml"),
        ("a: " + "[" * 5000, "p.yaml"),
        ("a: " + "[" * 600 + "]" * 600, "p.yaml is nested too deeply"),
        ("&a [*a]", "p.yaml is nested too deeply"),
        ("\n".join(LAUGHS), "p.yaml repeats too much by aliases"),
    ],
)
def test_a_file_that_says_a_thing_twice_or_nothing_at_all_is_refused(
    tmp_path: Path, text: str, sentence: str
):
    (tmp_path / "p.yaml").write_text(text)
    ran = demo_mode("plan", "-f", str(tmp_path / "p.yaml"))
    assert (ran.code, ran.out) == (1, "")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_a_file_that_is_missing_or_not_yaml_is_named(tmp_path: Path):
    assert "No such file" in demo_mode("plan", "-f", str(tmp_path / "nix")).err
    (tmp_path / "bad.yaml").write_text("kind: WarmPool\nspec: {")
    assert "bad.yaml is not YAML in line" in demo_mode("plan", "-f", str(tmp_path / "bad.yaml")).err
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8 text" in demo_mode("plan", "-f", str(tmp_path / "bytes")).err
