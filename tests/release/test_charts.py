"""Charts that name the images of their release."""

import pytest
import yaml
from chart.kit import CHARTS
from rows import each

from kotatsu_demo.images import IMAGES
from kotatsu_release.charts import Named, with_images, with_place
from kotatsu_release.errors import ReleaseError
from kotatsu_release.plan import Plan

NAMED = {
    image.name: Named(f"r.example/me/kotatsu-{image.name}", f"sha256:{n:064x}")
    for n, image in enumerate(IMAGES)
}


def values_of(chart: str) -> str:
    return (CHARTS / chart / "values.yaml").read_text()


@each("image", IMAGES, name=lambda image: image.name)
def test_a_released_chart_names_each_image_by_digest(image) -> None:
    found = yaml.safe_load(with_images(values_of(image.chart), image.chart, NAMED))
    named = (found[image.key] if image.key else found)["image"]
    wanted = NAMED[image.name]
    assert (named["repository"], named["digest"]) == (wanted.repository, wanted.digest)
    assert named["tag"] == ""  # the chart's appVersion


@pytest.mark.parametrize("chart", ["kotatsu", "pet"])
def test_nothing_else_of_the_values_changes_not_even_a_comment(chart: str) -> None:
    before = values_of(chart).splitlines()
    after = with_images(values_of(chart), chart, NAMED).splitlines()
    changed = [b for b, a in zip(before, after, strict=True) if b != a]
    assert {line.strip().partition(":")[0] for line in changed} == {"repository", "tag", "digest"}
    assert len(changed) == 3 * sum(image.chart == chart for image in IMAGES)


@pytest.mark.parametrize(("old", "new"), [
    ("localhost/kotatsu-voice", "elsewhere/voice"), ("    tag: dev\n", "    tag: other\n"),
])  # fmt: skip
def test_values_that_name_no_image_of_a_checkout_are_refused(old: str, new: str) -> None:
    with pytest.raises(ReleaseError, match=r"charts/pet/values\.yaml does not name the image"):
        with_images(values_of("pet").replace(old, new), "pet", NAMED)


@pytest.mark.parametrize("chart", ["kotatsu", "pet"])
def test_the_readme_of_a_released_chart_installs_it_from_the_registry(chart: str) -> None:
    plan = Plan("1.4.0", "r.example/me")
    readme = with_place((CHARTS / chart / "README.md").read_text(), chart, plan)
    assert f"helm install {chart} oci://r.example/me/charts/{chart} --version 1.4.0 " in readme
    assert f" charts/{chart}" not in readme
