"""From a registry to a voice: images and charts are pushed, and installed from there alone."""

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from e2e import registry
from e2e.conftest import ROOT, built, cluster_ip
from e2e.kit import App, Kubectl, eventually
from e2e.registry import Pushed, Registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

VOICE_ALONE = str(ROOT / "charts/pet/ci/voice-only.yaml")


@pytest.fixture(scope="module")
def the_registry(on_node: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not on_node:
        pytest.skip("the cluster has to know the registry (tools/node does)")
    with registry.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def push(to: Registry, name: str) -> Pushed:
    """Push an image of this checkout, made so that no node can have it already."""
    repository, tag = (setting.partition("=")[2] for setting in built("image", name))
    word = f"{name}-{uuid.uuid4().hex}"
    with registry.unlike_any_other(f"{repository}:{tag}", word, to.folder) as image:
        return to.push(image, f"kotatsu-{name}")


def install(
    kubectl: Kubectl, chart: str, *arguments: str, image: tuple[str, Pushed], to: Registry
) -> None:
    """Push a chart of this checkout, and install it from its oci:// address."""
    key, pushed = image
    address = to.push_chart(ROOT / "charts" / chart)
    sets = tuple(f"--set={setting}" for setting in pushed.settings(key))
    where = ("--plain-http", "-n", kubectl.namespace)
    to.helm("install", chart, address, *where, *sets, *arguments)


async def test_charts_and_images_by_digest_make_a_voice_that_sleeps_wakes_and_speaks(
    the_registry: Registry, make_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = make_namespace("registry")
    operator, voice = (push(the_registry, name) for name in ("operator", "voice"))
    wait = ("--wait", "--timeout=3m")
    install(kubectl, "kotatsu", *wait, image=("image", operator), to=the_registry)
    values = ("--values", VOICE_ALONE, "--set=idleAfter=5s")
    install(kubectl, "pet", *values, image=("voice.image", voice), to=the_registry)

    app = App("voice", kubectl)
    await eventually("voice asleep", lambda: app.phase() == "Asleep", within=120)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        address = f"http://{cluster_ip(kubectl, 'voice')}/voice"
        spoken = await http.post(address, json={"text": "おはよう"})
    assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/mpeg")
    assert images_of(kubectl, "kotatsu") == {operator.reference}
    assert images_of(kubectl, "voice") == {voice.reference}


def images_of(kubectl: Kubectl, name: str) -> set[str]:
    """What containers of pods run, as the container runtime says."""
    pods = kubectl.items("pods", **{"app.kubernetes.io/name": name})
    return {status["imageID"] for pod in pods for status in pod["status"]["containerStatuses"]}
