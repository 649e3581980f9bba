"""What the tests keep of rendered charts is kept for the charts as they are."""

from pathlib import Path

from chart.kit import charts_digest, remember, remembered


def test_a_changed_chart_is_rendered_anew(tmp_path: Path) -> None:
    template = tmp_path / "templates/pod.yaml"
    template.parent.mkdir()
    template.write_text("kind: Pod")
    before = charts_digest(tmp_path)

    assert charts_digest(tmp_path) == before
    template.write_text("kind: Job")
    assert charts_digest(tmp_path) != before


def test_other_values_are_another_outcome() -> None:
    assert remembered("pet", "", "--set=a=1") != remembered("pet", "", "--set=a=2")
    assert remembered("pet", "", "--set=a=1") == remembered("pet", "", "--set=a=1")


def test_an_outcome_is_read_as_it_was_kept(tmp_path: Path) -> None:
    remember(tmp_path / "it", "[1]")

    assert (tmp_path / "it").read_text() == "[1]"
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]
