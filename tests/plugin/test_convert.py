"""kubectl demo-mode convert: files of v1alpha1 become files of v1beta1."""

import json
from pathlib import Path

import pytest
import yaml
from plugin.kit import demo_mode, manifest, write_manifest

OLD = """\
# Of the pitch team
apiVersion: kotatsu.dev/v1alpha1
kind: WarmPool
metadata:
  name: voice
  annotations: {team: pitch}
spec:
  targetRef: {name: voice}
  scaling: {maxReplicas: 5}
  windows:
    - {name: pitch, start: 2030-12-18T10:00, end: 2030-12-18T12:00, replicas: 5}
  override: {mode: Warm, until: "2030-12-18T12:00:00+09:00", by: ann}
"""
NEW = {
    "apiVersion": "kotatsu.dev/v1beta1",
    "kind": "WarmPool",
    "metadata": {
        "name": "voice",
        "annotations": {"team": "pitch", "kotatsu.dev/override-by": "ann"},
    },
    "spec": {
        "targetRef": {"name": "voice"},
        "windows": [
            {
                "name": "pitch", "start": "2030-12-18T10:00", "end": "2030-12-18T12:00",
                "replicas": 5,
            }
        ],
        "override": {"mode": "Warm", "until": "2030-12-18T12:00:00+09:00"},
        "maxReplicas": 5,
    },
}  # fmt: skip
SERVICE = """\
---
# Stays as it is
kind: Service   # with its comments
apiVersion: v1
metadata: {name: voice}
spec: {selector: {app: voice}}
"""


def test_a_pool_of_v1alpha1_is_converted() -> None:
    ran = demo_mode("convert", stdin=OLD)

    assert yaml.safe_load(ran.out) == NEW
    assert ran.out.startswith("# Of the pitch team\n")
    assert (ran.code, ran.err) == (0, "")


def test_other_documents_stay_to_the_last_comment() -> None:
    ran = demo_mode("convert", "-f", "-", stdin=f"{OLD}{SERVICE}---\n{OLD}")

    assert SERVICE in ran.out
    assert [o["kind"] for o in yaml.safe_load_all(ran.out)] == ["WarmPool", "Service", "WarmPool"]


def test_a_file_without_a_former_pool_stays_as_it_is() -> None:
    given = f"{json.dumps(manifest())}\n{SERVICE}"

    assert demo_mode("convert", stdin=given).out == given


def test_comments_in_a_converted_pool_are_lost_and_that_is_said() -> None:
    ran = demo_mode("convert", stdin=OLD.replace("  scaling:", "  # enough\n  scaling:"))

    assert ran.err == "WarmPool voice: the comments in its manifest are lost\n"


def test_what_has_no_place_any_more_is_named_with_what_to_do() -> None:
    ran = demo_mode("convert", stdin=OLD.replace("scaling: {", "wake: {maxHeld: 50}\n  scaling: {"))

    assert ran.err == (
        "WarmPool voice: spec.wake.maxHeld: 50 is not kept: set the chart value activator.maxHeld "
        "to it: it is for all pools of a release\n"
    )
    assert "maxHeld" not in ran.out


def test_a_list_as_json_stays_json_and_loses_its_statuses() -> None:
    pool = yaml.safe_load(OLD)
    given = {"kind": "List", "apiVersion": "v1", "items": [pool | {"status": {"phase": "Warm"}}]}

    made = demo_mode("convert", stdin=json.dumps(given)).json

    assert made["items"][0]["spec"]["maxReplicas"] == 5
    assert "status" not in made["items"][0]


def test_several_files_become_one(tmp_path: Path) -> None:
    first = write_manifest(tmp_path / "a.json", yaml.safe_load(OLD))
    (tmp_path / "b.yaml").write_text(OLD)

    ran = demo_mode("convert", "-f", first, "-f", str(tmp_path / "b.yaml"))

    assert [o["spec"]["maxReplicas"] for o in yaml.safe_load_all(ran.out)] == [5, 5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: [", "- is not YAML in line 2; correct it there"),
        (f"{OLD}---\nkind: [\n", "- is not YAML in line 15; correct it there"),
    ],
)
def test_what_is_no_manifest_is_one_sentence(text: str, said: str) -> None:
    ran = demo_mode("convert", stdin=text)

    assert (ran.code, ran.out, ran.err) == (1, "", f"error: {said}\n")


def test_a_missing_file_is_one_sentence() -> None:
    assert "nothing.yaml cannot be read" in demo_mode("convert", "-f", "nothing.yaml").err


def test_a_plan_of_a_former_manifest_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(OLD)

    ran = demo_mode("plan", "-f", str(tmp_path / "pool.yaml"))

    assert "run `kubectl demo-mode convert`" in ran.err
