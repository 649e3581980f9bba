"""The images, and the chart values that name them."""

from chart.kit import load_yaml
from rows import each

from kotatsu_demo.images import IMAGES, ROOT, TAG, Built, image_values, local_name

VALUES = {
    chart: load_yaml((ROOT / "charts" / chart / "values.yaml").read_text())[0]
    for chart in ("kotatsu", "pet")
}
BUILT = [Built(image, local_name(image), f"sha256:{image.name}") for image in IMAGES]


@each("image", IMAGES, name=lambda image: image.name)
def test_the_charts_name_by_default_what_make_images_loads(image):
    values = VALUES[image.chart]
    named = (values[image.key] if image.key else values)["image"]
    assert (named["repository"], named["tag"], named["digest"]) == (local_name(image), TAG, "")


def test_a_rebuilt_image_changes_the_annotation_of_its_pods():
    values = image_values("kotatsu", VALUES["kotatsu"], BUILT, "IfNotPresent")
    assert values["image"]["repository"] == "localhost/kotatsu-operator"
    for pods in ("operator", "activator"):
        assert values[pods]["podAnnotations"] == {"kotatsu.dev/image": "sha256:operator"}


def test_pushed_images_are_pulled_and_have_no_annotation():
    pushed = [Built(image, f"registry.example/me/kotatsu-{image.name}") for image in IMAGES]
    values = image_values("pet", VALUES["pet"], pushed, "Always")
    assert values["voice"] == {
        "image": {
            "repository": "registry.example/me/kotatsu-voice", "tag": "dev", "pullPolicy": "Always",
        }
    }  # fmt: skip
