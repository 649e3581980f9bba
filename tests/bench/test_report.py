"""The frame of `make bench`: what is written, merged, printed and drawn."""

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from rows import each

import picture
import report
import run
import table
from report import Machine, Row, Topic
from samples import Samples, amount, parts

MACHINE = Machine("Some CPU", 2, 7.8, "6.1")
ROW = Row("wake", "20 cold starts", "1.02 s", "min 1 s", 20, "≤ 1.05 x floor", 1.01, True, "again")


def topic(name: str, *rows: Row, busy: float = 0.0, at: str = "2026-01-01 10:00") -> Topic:
    return Topic(name, at, 12.5, MACHINE, {"python": "3.13"}, (0.1, 1.2), busy, rows or (ROW,))


def test_what_is_written_is_read_again(tmp_path):
    topics = [topic("wake"), topic("speech", replace(ROW, ratio=None, met=None))]
    report.write(topics, tmp_path / "results.json")
    assert report.read(tmp_path / "results.json") == topics


def test_where_nothing_was_measured_yet_there_are_no_topics(tmp_path):
    assert report.read(tmp_path / "results.json") == []


def test_a_topic_measured_again_takes_the_place_of_its_old_self_and_the_others_stay():
    old = [topic("gone"), topic("speech", at="old"), topic("wake", at="old")]
    found = report.merged(old, [topic("wake", at="new")], ["wake", "speech"])
    assert [(t.name, t.at) for t in found] == [
        ("wake", "new"),
        ("speech", "old"),
        ("gone", "2026-01-01 10:00"),
    ]


def test_results_are_written_with_their_page_and_picture(tmp_path):
    run.write([topic("wake")], tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["topics"][0]["name"] == "wake"
    assert "| ✓ | wake | 1.02 s |" in (tmp_path / "README.md").read_text()
    assert ET.parse(tmp_path / "benchmarks.svg").getroot().tag.endswith("svg")


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


def test_a_race_is_drawn_with_what_could_not_be_measured(tmp_path):
    cold = replace(ROW, what="cold: Kotatsu, tuned", ratio=1.234)
    memory = replace(ROW, what="memory: Another, default", ratio=None, median="1,368 MB")
    lost = replace(memory, what="memory: Another, tuned", median="–")
    run.write([topic("peers", cold, memory, lost)], tmp_path / "results.json")
    drawn = (tmp_path / "race.svg").read_text()
    texts = [element.text for element in ET.fromstring(drawn).iter()]
    for said in ("Kotatsu, tuned", "1.23   (1.02 s)", "1,368 MB", "–"):
        assert said in texts


def test_the_page_names_machine_versions_load_and_the_command_of_each_row():
    page = table.markdown([topic("wake")])
    for said in ("Some CPU", "python 3.13", "0.10, 1.20", "`again`", "20 cold starts"):
        assert said in page


@pytest.mark.parametrize("render", [table.markdown, table.terminal])
def test_a_row_measured_while_others_used_the_machine_says_so(render):
    assert "of the machine" not in render([topic("wake")])
    assert "others used 40% of the machine" in render([topic("wake", busy=0.4)])


def test_a_bar_in_a_text_does_not_end_a_cell():
    page = table.markdown([topic("wake", replace(ROW, how="a | b"))])
    line = next(line for line in page.splitlines() if "wake" in line and "a " in line)
    assert line.count("|") == 10


@each(
    "goal, ratio, far",
    [
        ("≤ 2 x", 1.0, 0.5),
        ("≤ 2 x", 3.0, 1.5),
        ("≥ 0.5 x direct", 1.0, 0.5),
        ("≥ 1.6", 0.8, 2.0),
        ("≥ 1", 0.0, math.inf),
        ("≤ 0 calls", 0.0, None),
        ("all answered", 1.0, None),
        ("≤ 1,000 MB", None, None),
    ],
)
def test_the_distance_to_a_goal_is_one_at_the_goal_and_less_when_it_is_met(goal, ratio, far):
    assert picture.distance(replace(ROW, goal=goal, ratio=ratio)) == far


def test_the_picture_counts_the_goals_met_among_those_that_could_be_judged():
    rows = (ROW, replace(ROW, met=False, ratio=9.0), replace(ROW, met=None, ratio=None))
    assert "1 of 2 goals met" in picture.draw([topic("wake", *rows)])


def test_the_picture_has_only_what_has_a_goal():
    drawn = picture.draw([topic("wake", ROW, replace(ROW, what="a figure", goal="", met=None))])
    assert "wake" in drawn
    assert "a figure" not in drawn


def test_a_text_with_marks_of_xml_stays_a_text():
    drawn = picture.draw([topic("wake", replace(ROW, what="a < b & c"))])
    assert "a < b & c" in [element.text for element in ET.fromstring(drawn).iter()]


def test_the_spread_has_the_least_and_the_most_of_all_that_was_measured():
    samples = Samples.of([0.3, 0.1, 5.0, 0.2])
    assert samples.median == 0.2
    assert samples.spread == "min 100 ms, p95 5 s, max 5 s"


def test_a_stage_takes_from_the_end_of_the_one_before_it_to_its_own():
    runs = [{"sound": 1.0, "pod": 0.3, "unknown": 9.0}, {"pod": 0.5, "load": 0.7, "sound": 1.0}]
    assert parts(runs, ["pod", "load", "sound"]) == "pod 300 ms, load 200 ms, sound 300 ms"


@each("share, value", [(0.0, 1), (0.5, 5), (0.51, 6), (0.95, 10), (0.9, 9), (1.0, 10)])
def test_a_quantile_is_a_value_that_was_measured(share, value):
    assert Samples.of(range(10, 0, -1)).quantile(share) == value


def test_nothing_measured_has_no_median():
    with pytest.raises(ValueError, match="nothing"):
        Samples.of([])


@each(
    "value, unit, text",
    [
        (1.0234, "s", "1.02 s"),
        (0.0431, "s", "43.1 ms"),
        (0.00000312, "s", "3.12 µs"),
        (0.0, "s", "0 µs"),
        (8123.4, "requests/s", "8,123 requests/s"),
        (0.98765, "", "0.99"),
        (0.0405, "", "0.0405"),
    ],
)
def test_amounts_read_well(value, unit, text):
    assert amount(value, unit) == text


def test_a_topic_is_any_module_that_has_rows():
    assert "speech" in run.topics()
    assert not {"run", "report", "topic", "http1"} & set(run.topics())


def test_a_topic_that_does_not_exist_is_named_with_those_that_do(capsys):
    assert run.main(["nonsense"]) == 2
    said = capsys.readouterr().err
    assert "nonsense" in said
    assert "speech" in said
