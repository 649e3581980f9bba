"""The examples on a real API server: all are accepted, and the plain one really runs."""

import pytest
import yaml
from e2e.conftest import ROOT, cluster_ip
from e2e.kit import APP_IMAGE, App

pytestmark = pytest.mark.e2e

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_api_server_accepts_every_object(platform, path):
    said = platform("apply", "--dry-run=server", "-f", str(path))
    assert said.count("(server dry run)") == 3


async def test_the_web_example_wakes_serves_and_sleeps(platform, http):
    """With another web server in nginx's place: the node pulls no images."""
    deployment, service, pool = yaml.safe_load_all((ROOT / "examples/web.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = APP_IMAGE
    container["command"] = ["python3", "-m", "http.server", "8080", "--directory", "/etc"]
    pool["spec"]["scaling"]["idleAfter"] = "5s"
    platform.apply(deployment, service, pool)
    app = App("web", platform)
    try:
        await app.asleep()
        address = cluster_ip(platform, "web")
        answer = await http.get(f"http://{address}/hostname")
        assert answer.status_code == 200
        assert app.replicas() == 1
        await app.asleep()
    finally:
        platform("delete", "warmpool,deployment,service", "web", "--wait=false")
