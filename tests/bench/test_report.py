"""The frame of `make bench`: what is written, published and printed, and how it is summed up."""

import pytest
from rows import each

import report
import run
import table
from report import Machine, Row, Topic
from samples import Samples

MACHINE = Machine("Some CPU", 2, 7.8, "6.1")
ROW = Row("wake", "20 cold starts", "1.02 s", "min 1 s", 20, "≤ 1.05 x floor", 1.01, True, "again")


def topic(name: str, *rows: Row, busy: float = 0.0, at: str = "2026-01-01 10:00") -> Topic:
    return Topic(name, at, 12.5, MACHINE, {"python": "3.13"}, (0.1, 1.2), busy, rows or (ROW,))


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Where results are measured and published: wake was both, speech only measured."""
    measured, published = tmp_path / "build/results.json", tmp_path / "docs/results.json"
    monkeypatch.setattr(report, "MEASURED", measured)
    monkeypatch.setattr(report, "RESULTS", published)
    report.write([topic("wake", at="new"), topic("speech", at="new")], measured)
    report.write([topic("wake", at="old"), topic("talk", at="old")], published)
    return measured, published


def times(path):
    return {topic.name: topic.at for topic in report.read(path)}


def test_what_is_measured_is_not_published(files, monkeypatch):
    measured, published = files
    before = published.read_text()
    monkeypatch.setattr(run, "_run", lambda name, **_: topic(name, at="newest"))
    assert run.main(["speech"]) == 0
    assert times(measured) == {"wake": "new", "speech": "newest"}
    assert published.read_text() == before
    assert sorted(file.name for file in published.parent.iterdir()) == ["results.json"]


def test_what_was_measured_is_published_when_it_is_asked_for(files, capsys):
    _, published = files
    assert run.main(["--publish", "wake"]) == 0
    assert times(published) == {"wake": "new", "talk": "old"}
    assert "wake" in published.with_name("README.md").read_text()
    assert run.main(["--publish", "burst"]) == 2
    assert "make bench" in capsys.readouterr().err


@pytest.mark.parametrize("render", [table.markdown, table.every_row, table.terminal])
def test_a_row_measured_while_others_used_the_machine_says_so(render):
    assert "of the machine" not in render([topic("wake")])
    assert "others used 40% of the machine" in render([topic("wake", busy=0.4)])


def test_each_topic_is_on_the_page_or_in_the_race():
    shown = [name for names in table.SECTIONS.values() for name in names]
    assert sorted([*shown, *run.RACES, "schedules"]) == sorted(run.topics())


def test_both_pages_are_those_of_the_published_results():
    published = report.read(report.RESULTS)
    for name, made in {"README.md": table.markdown, "rows.md": table.every_row}.items():
        assert report.RESULTS.with_name(name).read_text() == made(published), "make bench PUBLISH=1"


def test_the_page_has_what_has_a_goal_and_the_rows_have_all():
    plain = Row("a minute", "alone", "1 s", "", 1, "", None, None, "again")
    measured = [topic("wake", ROW, plain)]
    assert "a minute" in table.every_row(measured)
    assert "a minute" not in table.markdown(measured)
    assert "20 cold starts" not in table.markdown(measured)


def test_the_spread_has_the_least_and_the_most_of_all_that_was_measured():
    samples = Samples.of([0.3, 0.1, 5.0, 0.2])
    assert samples.median == 0.2
    assert samples.spread == "min 100 ms, p95 5 s, max 5 s"


@each("share, value", [(0.0, 1), (0.5, 5), (0.51, 6), (0.95, 10), (0.9, 9), (1.0, 10)])
def test_a_quantile_is_a_value_that_was_measured(share, value):
    assert Samples.of(range(10, 0, -1)).quantile(share) == value
