"""Optional features are what is installed."""

from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.activator.feature import FEATURES as OF_THE_ACTIVATOR
from kotatsu_operator.controller.feature import FEATURES, Feature, Setup, features_of
from kotatsu_operator.runtime.installed import installed
from kotatsu_operator.runtime.settings import OperatorSettings

OURS = [
    *("Calendars", "Placeholders", "Feature", "Histories", "Knative", "Notices", "ParkedPods"),
    "Members",
]
"""By name of the entry point. The console without a port and the sets do nothing by default."""


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Install a distribution with one module and one feature of the operator."""

    def install(name, module, text):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{FEATURES}]\n{name} = {module}:made\n")
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    return install


def features():
    settings = OperatorSettings(pod_namespace="kotatsu")
    return features_of(Setup(settings, CollectorRegistry(), lambda: datetime.now(UTC)))


def test_the_features_of_the_package_are_found_in_the_order_of_their_names():
    assert [type(feature).__name__ for feature in features()] == OURS
    assert [made.__name__ for made in installed(OF_THE_ACTIVATOR)] == ["Keepalive", "Visitors"]


def test_another_distribution_adds_a_feature(distribution):
    distribution(
        "owls",
        "owls",
        "from kotatsu_operator.controller.feature import Feature\n\n\n"
        "class Owls(Feature):\n    def __init__(self, setup):\n        self.setup = setup\n\n\n"
        "made = Owls\n",
    )
    [added] = [feature for feature in features() if type(feature).__name__ == "Owls"]
    assert isinstance(added, Feature)
    assert added.setup.settings.pod_namespace == "kotatsu"


def test_a_feature_whose_package_is_not_there_is_left_out(distribution, caplog):
    distribution("cats", "cats_that_left.feature", "")
    with caplog.at_level("INFO"):
        assert [type(feature).__name__ for feature in features()] == OURS
    assert "left out: the feature cats" in caplog.text


def test_a_feature_that_needs_what_is_not_there_is_an_error(distribution):
    distribution("dogs", "dogs", "import a_library_of_dogs\n")
    with pytest.raises(ModuleNotFoundError, match="a_library_of_dogs"):
        features()
