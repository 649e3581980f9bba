"""The pod from which a rehearsal sends its requests."""

from typing import Any, cast

import pytest
from plugin.kit import NOW, pool

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.client import Inside
from kotatsu_demo_mode.errors import DemoModeError

ACTIVATORS = "app.kubernetes.io/name=kotatsu,app.kubernetes.io/component=activator"


class Cluster:
    """Answers for one Service, and for Deployments by their labels."""

    def __init__(self, *images: str) -> None:
        self._images = images

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path.endswith("/services/voice"):
            return {"spec": {"ports": [{"port": 80}]}}
        assert path.endswith("/deployments")
        assert query == {"labelSelector": ACTIVATORS}
        made = [{"spec": {"containers": [{"image": image}]}} for image in self._images]
        return {"items": [{"spec": {"template": template}} for template in made]}


def inside(*images: str, image: str = "") -> Inside:
    """A rehearsal's pod in a namespace whose activators have these images."""
    api = cast(Api, Cluster(*images))
    return Inside(api, pool(), "/", image, lambda: NOW, lambda _: None)


def test_its_pod_has_the_image_of_the_activators_whatever_they_are_called() -> None:
    assert inside("example.com/kotatsu:1")._image == "example.com/kotatsu:1"


def test_an_image_of_ones_own_needs_no_activator_to_be_found() -> None:
    assert inside(image="python:3")._image == "python:3"


def test_a_namespace_without_an_activator_is_refused_with_what_to_do() -> None:
    with pytest.raises(DemoModeError, match=r"has no activator.* chart value `namespaces`"):
        inside()
