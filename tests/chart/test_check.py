"""`kubectl demo-mode check` has nothing to mend in what the pet's chart renders."""

from copy import deepcopy
from pathlib import Path

from chart.kit import CHARTS, render
from plugin.setups import good
from plugin.test_check import bad, check
from rows import each

VALUES = sorted((CHARTS / "pet" / "ci").glob("*.yaml"))
KOTATSU = [o for o in good() if "kotatsu" in o["metadata"]["name"]]


@each("values", VALUES, name=lambda values: values.stem)
def test_the_pools_of_the_pet_are_good(values: Path) -> None:
    objects = deepcopy(render("pet", values).objects)  # a render is shared
    pools = [o["metadata"]["name"] for o in objects if o["kind"] == "WarmPool"]
    for o in objects:
        o["metadata"].pop("namespace", None)
    for pool in pools:
        answer = check([*objects, *KOTATSU], f"warmpool/{pool}")
        assert bad(answer) == [], pool


def test_some_of_them_have_pools() -> None:
    assert any(o["kind"] == "WarmPool" for o in render("pet", CHARTS / "pet/ci/demo.yaml").objects)
