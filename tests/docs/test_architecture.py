"""docs/architecture.md has every folder and layer of the operator, and no other."""

import re
import tomllib
from pathlib import PurePosixPath

from docs.pages import ROOT, blocks, files, name
from rows import each

PAGE = (ROOT / "docs/architecture.md").read_text()
SECTION = PAGE.split("\n## The folders of the operator's package\n")[1].split("\n## ")[0]
PACKAGE = "operator/src/kotatsu_operator/"
MODULES = [
    PurePosixPath(name(path).removeprefix(PACKAGE))
    for path in files()
    if name(path).startswith(PACKAGE) and path.suffix == ".py"
]
LAYERS = [
    contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    if contract["type"] == "layers" and contract["containers"][0].startswith("kotatsu_operator")
]


@each("contract", LAYERS, name=lambda contract: contract["containers"][0])
def test_the_layers_are_those_that_import_linter_enforces(contract) -> None:
    container = contract["containers"][0].removeprefix("kotatsu_operator").lstrip(".")
    (drawing,) = blocks(SECTION)
    lines = dict(re.findall(r"^(\w+) +(.*)$", drawing, re.MULTILINE))
    assert lines[container or "package"] == " > ".join(contract["layers"])


@each("contract", LAYERS, name=lambda contract: contract["containers"][0])
def test_every_module_of_a_folder_with_layers_is_in_one(contract) -> None:
    folder = PurePosixPath(*contract["containers"][0].split(".")[1:])
    inside = {m.relative_to(folder) for m in MODULES if m.is_relative_to(folder)}
    there = {part.parts[0].removesuffix(".py") for part in inside} - {"__init__"}
    assert {word for layer in contract["layers"] for word in layer.split(" | ")} == there


def test_the_table_has_each_folder_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", SECTION, re.MULTILINE)
    told = [folder for row in rows for folder in re.findall(r"`([\w/]+/)`", row)]
    assert sorted(told) == sorted({f"{m.parent}/" for m in MODULES} - {"./"})
