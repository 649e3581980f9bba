"""Rendering the charts with helm, and reading what came out."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import needs
import yaml

from kotatsu_node.build import clients
from kotatsu_node.layout import Layout

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
NAMESPACE = "here"
RELEASE = "mine"
# A helm that was built without its version believes in a very old Kubernetes.
KUBE_VERSION = "1.34.0"

MAKES_PODS = ("Deployment", "Job", "KnativeService")
"""Of what the charts have; a test refuses any other kind with a pod template in it."""
IS_POD = "Pod"
"""Made by `helm test`."""

Object = dict[str, Any]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Rejects a field that is twice in a map, as kustomize does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [name.value for name, _ in node.value]
        assert len(names) == len(set(map(str, names))), f"a field twice in {names}"
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> list[Object]:
    """All documents of a text that are not empty."""
    return [doc for doc in yaml.load_all(text, Loader=_Loader) if doc]


@functools.cache
def find_helm() -> str | None:
    """Path of helm; None where this machine has none."""
    found = clients.find("helm", Layout.from_environment())
    return None if found is None else str(found)


def require_helm() -> None:
    """For tests that need helm."""
    if find_helm() is None:
        needs.missing("helm", "none in PATH, and `make programs` builds it")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm; its failure is for the caller to judge."""
    program = find_helm()
    assert program is not None
    # It ends before its garbage is worth collecting.
    environment = os.environ | {"GOGC": "off"}
    return subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@dataclass(frozen=True)
class Scenario:
    """A chart with one of its ci/ values files."""

    chart: str
    values: Path

    @property
    def name(self) -> str:
        """Shown as the test's parameter."""
        return f"{self.chart}-{self.values.stem}"


SCENARIOS = [
    Scenario(chart.name, values)
    for chart in sorted(CHARTS.iterdir())
    for values in sorted((chart / "ci").glob("*.yaml"))
]


class Rendered:
    """The objects of a chart."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def of(self, *kinds: str) -> list[Object]:
        """All objects of these kinds; a Service of Knative is a KnativeService."""
        return [obj for obj in self.objects if kind_of(obj) in kinds]

    def one(self, kind: str, name: str, namespace: str = NAMESPACE) -> Object:
        """The object of this kind and name."""
        found = [
            obj
            for obj in self.of(kind)
            if obj["metadata"]["name"] == name
            and obj["metadata"].get("namespace", namespace) == namespace
        ]
        assert len(found) == 1, f"{len(found)} objects {kind} {name} in {namespace}"
        return found[0]

    def names(self, kind: str) -> list[str]:
        """Names of all objects of a kind, sorted."""
        return sorted(obj["metadata"]["name"] for obj in self.of(kind))

    def pods(self) -> Iterator[tuple[Object, Object]]:
        """(owner, pod template) of everything that makes pods, or is one."""
        for obj in self.of(*MAKES_PODS):
            yield obj, obj["spec"]["template"]
        for obj in self.of(IS_POD):
            yield obj, obj

    def kept(self) -> "Rendered":
        """Without the objects that exist only while helm runs a hook."""
        return Rendered([obj for obj in self.objects if "helm.sh/hook" not in annotations(obj)])


def kind_of(obj: Object) -> str:
    """The kind, told apart from Kubernetes' own where Knative uses the same name."""
    prefix = "Knative" if obj["apiVersion"].startswith("serving.knative.dev/") else ""
    return prefix + str(obj["kind"])


def annotations(obj: Object) -> dict[str, str]:
    """Annotations of an object."""
    return obj["metadata"].get("annotations") or {}


def containers(template: Object) -> list[Object]:
    """Every container of a pod template."""
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def environment(template: Object) -> dict[str, str]:
    """Variables of the first container; "placeholder" (or a number) for what is referred to."""
    given = containers(template)[0].get("env", ())
    return {
        entry["name"]: "268435456"
        if "resourceFieldRef" in entry.get("valueFrom", {})
        else entry.get("value", "placeholder")
        for entry in given
    }


@functools.cache
def render(chart: str, values: Path | None = None, *arguments: str) -> Rendered:
    """`helm template` of a chart of ours; what came out before is read again."""
    known = remembered(chart, _text(values), *arguments)
    if known.exists():
        return Rendered(json.loads(known.read_text()))
    found = render_anew(chart, values, *arguments)
    remember(known, json.dumps(found.objects))
    return found


def render_anew(chart: str | Path, values: Path | None = None, *arguments: str) -> Rendered:
    """`helm template` of any chart: of one of ours by its name, of another one by its folder."""
    done = _template(chart, values, *arguments)
    assert done.returncode == 0, done.stderr
    return Rendered(load_yaml(done.stdout))


def template(
    chart: str, values: Path | None, *arguments: str, turn: int = 1
) -> subprocess.CompletedProcess[str]:
    """`helm template` of a chart of ours, whatever comes of it; each turn is rendered by itself."""
    key = ("template", chart, _text(values), *arguments, str(turn))
    return _once(key, lambda: _template(chart, values, *arguments))


def lint(chart: str, values: Path) -> subprocess.CompletedProcess[str]:
    """`helm lint` of a chart of ours, whatever comes of it."""
    command = ("lint", "--strict", str(CHARTS / chart), "-f", str(values))
    return _once(("lint", chart, _text(values)), lambda: helm(*command))


def _text(values: Path | None) -> str:
    return values.read_text() if values else ""


def _template(
    chart: str | Path, values: Path | None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    files = () if values is None else ("--values", str(values))
    return helm(
        *("template", RELEASE, str(CHARTS / chart), "--namespace", NAMESPACE),
        *("--kube-version", KUBE_VERSION, *files, *arguments),
    )


def _once(
    what: tuple[str, ...], run: Callable[[], subprocess.CompletedProcess[str]]
) -> subprocess.CompletedProcess[str]:
    """Run helm on our charts, or read again what it said; one that was killed is not remembered."""
    known = remembered(*what)
    if known.exists():
        return subprocess.CompletedProcess(what, *json.loads(known.read_text()))
    done = run()
    if done.returncode >= 0:
        remember(known, json.dumps([done.returncode, done.stdout, done.stderr]))
    return done


def remembered(*what: str) -> Path:
    """Where the outcome of something is kept that depends on helm, the charts and `what` alone.

    The tests run helm three hundred times, which is a fifth of the time of all fast tests.
    """
    return _memory() / hashlib.sha256("\0".join(what).encode()).hexdigest()[:32]


def remember(place: Path, text: str) -> None:
    """Keep an outcome; another process never reads half of it."""
    with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(place)


@functools.cache
def _memory() -> Path:
    """The folder for the charts as they are; that of other charts is removed."""
    root = ROOT / ".cache" / "helm"
    mine = root / charts_digest(CHARTS)
    mine.mkdir(parents=True, exist_ok=True)
    for other in root.iterdir():
        if other != mine:
            shutil.rmtree(other, ignore_errors=True)
    return mine


def charts_digest(folder: Path) -> str:
    """A short digest of what outcomes come from: helm, how it is called here, and a folder."""
    digest = hashlib.sha256(str(find_helm()).encode() + Path(__file__).read_bytes())
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def notes(chart: str, values: Path | None, work: Path) -> str:
    """What NOTES.txt says. `helm template` leaves it out, so it is rendered as a ConfigMap."""
    done = _once(("notes", chart, _text(values)), lambda: _notes(chart, values, work))
    assert done.returncode == 0, done.stderr
    [found] = Rendered(load_yaml(done.stdout)).of("Notes")
    return str(found["text"])


def _notes(chart: str, values: Path | None, work: Path) -> subprocess.CompletedProcess[str]:
    copy = work / chart
    shutil.copytree(CHARTS / chart, copy)
    source = copy / "templates" / "NOTES.txt"
    (copy / "templates" / "_notes.tpl").write_text(
        '{{- define "notes" }}' + source.read_text() + "{{ end }}"
    )
    source.unlink()
    (copy / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\n"
        'text: {{ include "notes" . | toJson }}\n'
    )
    return _template(copy, values)


def default_values(chart: str) -> Object:
    """The chart's values.yaml."""
    [values] = load_yaml((CHARTS / chart / "values.yaml").read_text())
    return values


def schema(chart: str) -> Object:
    """The chart's values.schema.json."""
    loaded: Object = json.loads((CHARTS / chart / "values.schema.json").read_text())
    return loaded


def validator(schema: Object) -> jsonschema.protocols.Validator:
    """What validates by a schema, for many values: to check the schema itself takes longer."""
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    made: jsonschema.protocols.Validator = kind(schema)
    return made


@functools.cache
def values_validator(chart: str) -> jsonschema.protocols.Validator:
    """What validates values of a chart."""
    return validator(schema(chart))


@functools.cache
def spec_validator() -> jsonschema.protocols.Validator:
    """What validates the spec of a WarmPool by the CRD."""
    version = crd()["spec"]["versions"][0]
    return validator(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


@functools.cache
def crd(plural: str = "warmpools") -> Object:
    """A packaged CRD; not to be changed, because it is read once."""
    [found] = load_yaml((CHARTS / f"kotatsu/crds/{plural}.kotatsu.dev.yaml").read_text())
    return found
