"""What the tests keep of rendered charts is kept for the charts as they are."""

from pathlib import Path

from chart.kit import charts_digest


def test_a_changed_chart_is_rendered_anew(tmp_path: Path) -> None:
    template = tmp_path / "templates/pod.yaml"
    template.parent.mkdir()
    template.write_text("kind: Pod")
    before = charts_digest(tmp_path)

    assert charts_digest(tmp_path) == before
    template.write_text("kind: Job")
    assert charts_digest(tmp_path) != before
