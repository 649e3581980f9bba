"""docs/how-to/console.md: with its values the login, and nothing else, reaches the console."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from chart.flows import Peer, Policies
from chart.kit import NAMESPACE, Rendered, environment, render, require_helm
from docs.pages import ROOT, blocks

OURS, LOGIN = blocks((ROOT / "docs/how-to/console.md").read_text(), "yaml")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    require_helm()
    values: Path = tmp_path_factory.mktemp("values") / "console.yaml"
    values.write_text(OURS)
    return render("kotatsu", values)


def test_only_the_login_reaches_the_console(chart: Rendered) -> None:
    template = chart.one("Deployment", "kotatsu-operator")["spec"]["template"]
    console = Peer("console", NAMESPACE, template["metadata"]["labels"])
    proxy = {"app.kubernetes.io/name": "oauth2-proxy"}

    def reaches(namespace: str, labels: dict[str, str]) -> bool:
        policies = Policies(chart.of("NetworkPolicy"))
        return policies.passes(Peer("client", namespace, labels), console, 8081)

    assert reaches("console-login", proxy)
    assert not reaches("console-login", {"app": "other"})
    assert not reaches("elsewhere", proxy)


def test_the_login_leads_to_the_service_of_the_console_by_a_name_that_it_knows(
    chart: Rendered,
) -> None:
    login = yaml.safe_load(LOGIN)
    (upstream,) = login["config"]["upstreams"]
    assert chart.one("Service", str(urlsplit(upstream).hostname).split(".")[0])
    template = chart.one("Deployment", "kotatsu-operator")["spec"]["template"]
    hosts = environment(template)["KOTATSU_CONSOLE_HOSTS"].split(",")
    assert hosts[-1:] == login["ingress"]["hosts"]
