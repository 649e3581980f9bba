"""What the README shows is still true."""

import re
from typing import Any

import jsonschema
import yaml
from docs.pages import blocks

from kotatsu_demo.images import ROOT
from kotatsu_operator.core.pool.parse import parse

README = (ROOT / "README.md").read_text()


def closed(schema: Any) -> Any:
    """The schema, refusing fields that it does not name."""
    if isinstance(schema, dict):
        more = {"additionalProperties": False} if "properties" in schema else {}
        return {name: closed(part) for name, part in schema.items()} | more
    return [closed(part) for part in schema] if isinstance(schema, list) else schema


def test_the_warm_pool_has_only_fields_of_the_crd_and_the_operator_reads_it():
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    pool = yaml.safe_load(text)
    crd = yaml.safe_load((ROOT / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.validate(pool["spec"], closed(schema))
    filled = {"apiVersion": "apps/v1", "kind": "Deployment"} | pool["spec"]["targetRef"]
    spec = parse(pool["spec"] | {"targetRef": filled})
    assert [window.name for window in spec.windows] == ["office-hours", "pitch"]


def test_the_quick_start_is_six_lines_of_the_tutorial_that_tests_run():
    lines = blocks(README.partition("## Quick start\n")[2])[0].splitlines()
    assert len(lines) == 6
    page = (ROOT / "docs/tutorials/kind.md").read_text()
    written = [
        command.partition(" #")[0].strip() for command in "\n".join(blocks(page)).split("\n")
    ]
    places = [written.index(command) for line in lines for command in line.split(" && ")]
    assert places == sorted(places)


def test_the_two_commands_are_those_that_ci_runs_and_have_the_words_of_makes_help():
    first = blocks(README.partition("## Two commands\n")[2])[0]
    commands = dict(line.split("  # ") for line in first.splitlines())
    ran = re.findall(r"^make .*", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert ran == list(commands) == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    helped = dict(re.findall(r"^([a-z-]+):.*## (.*)", makefile, re.MULTILINE))
    assert list(commands.values()) == [helped["demo"], helped["test"]]


def test_the_yen_of_a_pitch_follow_from_the_example_prices_and_the_charts_requests():
    voice = yaml.safe_load((ROOT / "charts/pet/values.yaml").read_text())["voice"]
    assert voice["resources"]["requests"] == {"cpu": "250m", "memory": "320Mi"}
    hourly = 0.25 * 6.5 + 320 / 1024 * 0.7
    ((pitch, month),) = re.findall(r"\*\*(\d+) yen\*\* \|.* cost ([\d,]+) yen", README)
    assert int(pitch) == round(5 * 2 * hourly)
    assert int(month.replace(",", "")) == round(5 * 730 * hourly)
