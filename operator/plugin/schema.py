"""Writes the schema that `plan -f` checks manifests with, from the CRD (make schema).

The plugin has no chart at hand when it runs, so the schema of a WarmPool's spec goes with it,
without its descriptions.
"""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml"
SCHEMA = ROOT / "operator/plugin/src/kotatsu_demo_mode/schema.json"


def schema(crd: Any) -> Any:
    """The schema of a spec as the CRD has it."""
    version = crd["spec"]["versions"][0]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return _without_descriptions(spec)


def _without_descriptions(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_descriptions(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    # A field may be called description; a keyword of that name holds a text.
    kept = {k: v for k, v in node.items() if k != "description" or not isinstance(v, str)}
    return {key: _without_descriptions(inner) for key, inner in kept.items()}


def text(crd: Any) -> str:
    """What the file holds."""
    return json.dumps(schema(crd), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text(yaml.safe_load(CRD.read_text())))
