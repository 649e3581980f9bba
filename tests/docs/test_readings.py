from pathlib import Path

import pytest
from rows import each
from voice.test_naist_jdic import OTHERWISE

from kotatsu_docs.readings import PAGE, samples, write
from kotatsu_voice.engines.openjtalk import OpenJTalkEngine
from kotatsu_voice.text import pieces, prepare

ROOT = Path(__file__).parents[2]
SAMPLES = samples((ROOT / PAGE).read_text())


@pytest.fixture(scope="module")
def engine() -> OpenJTalkEngine:
    engine = OpenJTalkEngine(1)
    engine._load()
    return engine


@each("sample", SAMPLES, name=lambda sample: sample.text)
def test_a_sample_is_read_as_the_page_says(engine: OpenJTalkEngine, sample) -> None:
    parts = pieces(prepare(sample.text, 500))
    assert " ".join(engine.reading(part.text) for part in parts) == sample.now
    assert sample.before != sample.now


def test_the_page_counts_the_texts_of_the_table() -> None:
    table = (ROOT / "tests/voice/readings.tsv").read_text().splitlines()
    count = sum("\t" in line for line in table)
    page = (ROOT / PAGE).read_text()
    assert f"has {count} texts" in page
    assert f"{count - len(OTHERWISE)} are read so, and {len(OTHERWISE)} otherwise" in page


def test_each_sample_is_spoken_into_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / PAGE).parent.mkdir(parents=True)
    (tmp_path / PAGE).write_text("| `はい` | は | ハイ |\n| `うん` | う | ウン |\n")
    paths = [path for path, _ in write(tmp_path, tmp_path / "sound")]
    assert [path.name for path in paths] == ["01.mp3", "02.mp3"]
    assert all(path.stat().st_size > 1000 for path in paths)
