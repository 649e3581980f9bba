"""The charts are rendered with a real helm."""

import needs
import pytest
from chart.kit import find_helm


@pytest.fixture(autouse=True, scope="session")
def _needs_helm() -> None:
    if find_helm() is None:
        needs.missing("helm", "none in PATH, and `kotatsu-node prepare` has built none")
