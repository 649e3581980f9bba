"""What it takes to have it: memory of the idle control plane, images, objects of the charts."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from cluster import Kubectl, NoClusterError, eventually, platform, pool
from coldstart import processes_of, small_app
from kotatsu_demo.images import IMAGES, TAG, local_name
from kotatsu_node import Node
from kotatsu_node.errors import NodeError
from report import ROOT, Row
from samples import Samples, digits
from simulation.measure import MIB, resident_mib
from topic import again, main, progress, unmeasured

AGAIN = again("footprint")
MEMORY = "memory of an idle operator and one activator"
MEMORY_GOAL = "≤ 150 MB"
HOW = "resident, after a minute with three sleeping pools; by default there is another activator"


async def rows(quick: bool) -> list[Row]:
    """All that can be seen from here."""
    with progress.step("sizes of the images"):
        sizes = image_rows()
    return [await _memory(10 if quick else 60), *sizes, *chart_rows()]


async def _memory(seconds: float) -> Row:
    try:
        with platform("idle") as kubectl:
            for name in ("a", "b", "c"):
                kubectl.apply(*small_app(name), pool(name))
            await eventually("all asleep", lambda: _asleep(kubectl) == 3, 60, 1)
            with progress.step("idle"):
                await asyncio.sleep(seconds)
            return _judged(list(_resident(kubectl)))
    except NoClusterError as error:
        return unmeasured(MEMORY, HOW, str(error), MEMORY_GOAL, "footprint")


def _asleep(kubectl: Kubectl) -> int:
    phases = [(p.get("status") or {}).get("phase") for p in kubectl.items("warmpools")]
    return phases.count("Asleep")


def _resident(kubectl: Kubectl) -> Iterator[tuple[str, float]]:
    """The part and the MB of each pod of the platform."""
    for item in kubectl.items("pods", **{"app.kubernetes.io/name": "kotatsu"}):
        part = item["metadata"]["labels"]["app.kubernetes.io/component"]
        pids = [pid for pid, name in processes_of(item["metadata"]["uid"]) if name != "/pause"]
        yield part, sum(resident_mib(pid) for pid in pids) * MIB


def _judged(resident: list[tuple[str, float]]) -> Row:
    operators = [mb for part, mb in resident if part == "operator"]
    activators = Samples.of((mb for part, mb in resident if part == "activator"), "MB")
    total = operators[0] + activators.median
    said = f"operator {digits(operators[0])} MB, activators {activators.spread}"
    met = total <= 150
    return Row(MEMORY, HOW, f"{total:.0f} MB", said, 1, MEMORY_GOAL, total, met, AGAIN)


def image_rows() -> list[Row]:
    """One row an image, largest goal first."""
    found = []
    how = "all layers, unpacked, as the builder tells it"
    for image in IMAGES:
        what, bound = f"image kotatsu-{image.name}", 450 if image.name == "voice" else 150
        goal, name = f"≤ {bound} MB", f"{local_name(image)}:{TAG}"
        size = _size(name)
        if size is None:
            found.append(unmeasured(what, how, f"there is no {name} here", goal, "footprint"))
            continue
        text, met = f"{size:.0f} MB", size <= bound
        found.append(Row(what, how, text, "exact", 1, goal, size, met, AGAIN))
    return found


def _size(name: str) -> float | None:
    """MB of an image in the node's builder, or in Docker; None when neither has it."""
    if shutil.which("buildah"):
        try:
            listed = json.loads(Node.open().buildah.call("images", "--json"))
        except NodeError:
            listed = []
        for image in listed:
            if name in (image["names"] or ()):
                number, unit = image["size"].split()
                return float(number) * {"kB": 1e-3, "MB": 1.0, "GB": 1e3}[unit]
    if shutil.which("docker"):
        command = ["docker", "image", "inspect", "--format", "{{.Size}}", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return float(done.stdout) / 1e6 if done.returncode == 0 else None
    return None


def chart_rows() -> list[Row]:
    """How many objects each chart makes with its defaults."""
    found = []
    for chart in ("kotatsu", "pet"):
        what, how = f"objects of the chart {chart}", "helm template, default values, without hooks"
        kinds = _kinds(ROOT / "charts" / chart)
        if kinds is None:
            found.append(unmeasured(what, how, "there is no helm here", "", "footprint"))
            continue
        text = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        found.append(Row(what, how, f"{len(kinds)}", text, 1, "", None, None, AGAIN))
    return found


def _kinds(chart: Path) -> list[str] | None:
    if shutil.which("helm") is None:
        return None
    command = ["helm", "template", "bench", str(chart), "--no-hooks"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(doc["kind"] for doc in yaml.safe_load_all(done.stdout) if doc)


if __name__ == "__main__":
    main(rows)
