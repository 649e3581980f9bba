"""The charts are rendered with a real helm."""

import needs
import pytest
from chart.kit import SCENARIOS, Rendered, Scenario, find_helm, render

# The guard that leaves clusters alone which are not ours, and namespaces that go afterwards.
from e2e.conftest import context, make_namespace  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def _needs_helm() -> None:
    if find_helm() is None:
        needs.missing("helm", "none in PATH, and `kotatsu-node prepare` has built none")


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Each chart with each of its ci/ values files."""
    chosen: Scenario = request.param
    return chosen


@pytest.fixture
def rendered(scenario: Scenario) -> Rendered:
    """What the chart makes of the scenario."""
    return render(scenario.chart, scenario.values)
