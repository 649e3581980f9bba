"""The charts are rendered with a real helm."""

import pytest
from chart.kit import require_helm


@pytest.fixture(autouse=True, scope="session")
def _needs_helm() -> None:
    require_helm()
