"""A release as strangers have it: from its registry alone, to the next version, and away again.

Two releases are made of this checkout. Their images have the same layers and other labels, so their
digests differ, and every pod is replaced by the upgrade.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from e2e import registry
from e2e.conftest import DNS, ROOT, cluster_ip
from e2e.kit import App, Kubectl, eventually, is_ending
from e2e.registry import Registry, quiet_node

from docs import pages
from kotatsu_release.builders import Buildah
from kotatsu_release.charts import Helm
from kotatsu_release.plan import Plan
from kotatsu_release.release import Release, Released, Tools

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

FIRST, SECOND = "7.1.0", "7.2.0"
VOICE_ALONE = str(ROOT / "charts/pet/ci/voice-only.yaml")


@pytest.fixture(scope="module")
def the_registry(on_node: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not on_node:
        pytest.skip("the cluster has to know the registry (tools/node does)")
    with registry.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def releases(the_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> list[Released]:
    """Both versions, made of this checkout as it is on disk."""
    root = tmp_path_factory.mktemp("release") / "checkout"
    git = ("git", "-C", str(root), "-c", "user.name=e2e", "-c", "user.email=e2e@example.org")
    for path in pages.files():
        if not (place := pages.name(path)).startswith(("docs/", "tests/", "bench/")):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / place)
    subprocess.run([*git, "init", "--quiet"], check=True)
    made = []
    for version in (FIRST, SECOND):
        (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{version}] - 2030-01-01\n")
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", version], check=True)
        made.append(release(root, version, the_registry))
    return made


def release(root: Path, version: str, to: Registry) -> Released:
    """Release a checkout into the registry, without bills of materials' own program."""
    materials = root.parent / "cyclonedx-py"
    materials.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho {} > "$2"\n')
    materials.chmod(0o755)
    plan = Plan(version, f"{to.address}/kotatsu", plain_http=True)
    node = quiet_node()
    builder = Buildah(node, plain_http=True)
    tools = Tools(builder, Helm("helm", plan), materials, None, "urn:e2e")
    where = root.parent / version
    where.mkdir()
    made = Release(root, where, plan, tools, node.progress).make(lambda: datetime.now(UTC))
    for image in made.images.values():
        # The node must pull it: nothing of this machine's own storage is at hand.
        node.buildah.call("rmi", f"{image.repository}:{version}", check=False)
    return made


def chart(to: Registry, kubectl: Kubectl, verb: str, name: str, *arguments: str) -> None:
    """Install or upgrade a chart from its oci:// address."""
    address = f"oci://{to.address}/kotatsu/charts/{name}"
    to.helm(verb, name, address, "--plain-http", "-n", kubectl.namespace, *arguments)


def running(kubectl: Kubectl, name: str) -> set[str]:
    """The images of running pods, as the container runtime says."""
    pods = kubectl.items("pods", **{"app.kubernetes.io/name": name})
    return {
        status["imageID"]
        for pod in pods
        if not is_ending(pod)
        for status in pod["status"].get("containerStatuses", ())
    }


def digest(made: Released, name: str) -> set[str]:
    image = made.images[name]
    return {f"{image.repository}@{image.digest}"}


@asynccontextmanager
async def speaking(kubectl: Kubectl) -> AsyncIterator[list[int | str]]:
    """Ask for speech again and again; what came of each request, by its status or error."""
    address = f"http://{cluster_ip(kubectl, 'voice')}/voice"
    answers: list[int | str] = []

    async def ask() -> None:
        async with httpx.AsyncClient(timeout=120, trust_env=False) as http:
            while True:
                try:
                    spoken = await http.post(address, json={"text": "おはよう"})
                    answers.append(spoken.status_code)
                except httpx.HTTPError as error:
                    answers.append(repr(error))
                await asyncio.sleep(0.2)

    asking = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_release_is_installed_from_its_registry_upgraded_under_load_and_uninstalled(
    the_registry: Registry, releases: list[Released], make_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = make_namespace("release")
    first, second = releases
    assert digest(first, "operator") != digest(second, "operator")
    wait = ("--wait", "--timeout=4m")
    voice_only = ("--values", VOICE_ALONE, "--set=idleAfter=5s")

    chart(the_registry, kubectl, "install", "kotatsu", "--version", FIRST, "--set", DNS, *wait)
    chart(the_registry, kubectl, "install", "pet", "--version", FIRST, *voice_only)
    app = App("voice", kubectl)
    await eventually("voice asleep", lambda: app.phase() == "Asleep")
    assert running(kubectl, "kotatsu") == digest(first, "operator")

    async with speaking(kubectl) as answers:
        await eventually("the first words", lambda: len(answers) > 3)
        assert running(kubectl, "voice") == digest(first, "voice")
        upgrade = ("upgrade", "kotatsu", "--version", SECOND, "--set", DNS, *wait)
        await asyncio.to_thread(chart, the_registry, kubectl, *upgrade)
        upgrade = ("upgrade", "pet", "--version", SECOND, *voice_only)
        await asyncio.to_thread(chart, the_registry, kubectl, *upgrade)
        await eventually(
            "the voice of the second release",
            lambda: running(kubectl, "voice") == digest(second, "voice"),
        )
        asked = len(answers)
        await eventually("more words", lambda: len(answers) > asked + 3)
    assert set(answers) == {200}, [answer for answer in answers if answer != 200]
    assert running(kubectl, "kotatsu") == digest(second, "operator")

    await eventually("voice asleep again", lambda: app.phase() == "Asleep")
    for name in ("pet", "kotatsu"):
        the_registry.helm("uninstall", name, "-n", kubectl.namespace, *wait)
    await eventually("no pod left", lambda: not kubectl.items("pods"))
    left = kubectl("get", "deployments,services,warmpools", "-o", "name").split()
    assert left == []
    assert kubectl.get("crd", "warmpools.kotatsu.dev")  # Helm never deletes a CRD


def test_the_plugin_of_the_release_is_found_by_kubectl(
    releases: list[Released], team: Kubectl
) -> None:
    program = next(file for file in releases[0].files if file.name == "kubectl-demo_mode")
    done = subprocess.run(
        ["kubectl", "demo-mode", "status", "-n", team.namespace],
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
