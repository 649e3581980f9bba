"""The layers that docs/architecture.md draws are those that import-linter enforces."""

import re
import tomllib

from docs.pages import ROOT, blocks, section
from rows import each

TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
OURS = "kotatsu_operator"
LAYERS = {
    contract["containers"][0]: contract["layers"]
    for contract in TOOLS["importlinter"]["contracts"]
    if contract["type"] == "layers" and contract["containers"][0].startswith(OURS)
}


@each("container, layers", LAYERS.items())
def test_the_layers_of_the_page_are_those_of_the_contracts(container: str, layers: list[str]):
    (drawing,) = blocks(section("docs/architecture.md", "The folders of the operator's package"))
    lines = dict(re.findall(r"^(\w+) +(.*)$", drawing, re.MULTILINE))
    assert lines[container.removeprefix(OURS).lstrip(".") or "package"] == " > ".join(layers)


@each("container, layers", LAYERS.items())
def test_every_module_of_a_folder_with_layers_is_in_one(container: str, layers: list[str]):
    folder = ROOT / "operator/src" / container.replace(".", "/")
    inside = [p for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    modules = {path.stem for path in inside} - {"__init__"}
    assert {word for layer in layers for word in layer.split(" | ")} == modules
