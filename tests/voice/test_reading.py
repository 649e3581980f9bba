"""Texts and how the real Open JTalk reads them: `readings.tsv` has one a line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_voice.audio import EDGE_MS
from kotatsu_voice.engines.openjtalk import OpenJTalkEngine
from kotatsu_voice.reading import english, read
from kotatsu_voice.text import COMMA_PAUSE, pieces, prepare

LINES = (Path(__file__).parent / "readings.tsv").read_text().splitlines()
CASES = [tuple(line.split("\t")) for line in LINES if "\t" in line]
PLAIN = st.text("あいうえおかきくけこんーアイウ今日東京鳥猫、。！？「」・", max_size=200)
ODD = "-−–~/:.,@#&?!=+*×÷<>%¥$€£'’_|\\()[]0a Av何〜℃°μαー、"


@pytest.fixture(scope="module")
def engine() -> OpenJTalkEngine:
    engine = OpenJTalkEngine(1)
    engine._load()
    return engine


def as_written(word: str) -> str:
    return word


def unexpected(word: str) -> str:
    raise AssertionError(f"{word} is no English word")


def reading(engine: OpenJTalkEngine, text: str) -> str:
    return " ".join(engine.reading(piece.text) for piece in pieces(prepare(text, 500)))


def test_a_text_is_read_as_people_read_it(engine: OpenJTalkEngine) -> None:
    read_as = [(text, said, reading(engine, text)) for text, said in CASES]
    assert [case for case in read_as if case[1] != case[2]] == []


def test_the_table_has_at_least_three_hundred_different_texts() -> None:
    assert len({text for text, _ in CASES}) == len(CASES) >= 300


def test_what_was_written_out_stays(engine: OpenJTalkEngine) -> None:
    parts = [piece.text for text, _ in CASES for piece in pieces(prepare(text, 500))]
    once = [read(part, engine._english) for part in parts]
    assert [read(part, engine._english) for part in once] == once


@given(PLAIN)
def test_plain_japanese_is_not_changed(text: str) -> None:
    assert read(text, unexpected) == text


@given(st.text(max_size=300) | st.text(ODD, max_size=300))
def test_any_text_is_read(text: str) -> None:
    read(text, as_written)


def test_a_number_is_not_parted_at_its_commas() -> None:
    long = (
        "駅前のお店で売っている青くて丸くて大きくて少しだけ重いけれども"
        "とても暖かいこたつの本日だけの特別価格が"
    )
    parts = pieces(prepare(f"{long}1,234,567円です。", 500))
    assert not any(part.text.startswith(("234", "567")) for part in parts)


def silence(wave: "np.ndarray") -> float:
    """The longest silence inside a wave, in seconds; steps of 10 ms."""
    loud = np.abs(wave).reshape(-1, 480).max(axis=1) > 0.01 * 32768
    first, last = loud.argmax(), len(loud) - loud[::-1].argmax()
    longest = run = 0
    for sounds in loud[first:last]:
        run = 0 if sounds else run + 1
        longest = max(longest, run)
    return longest / 100


@pytest.mark.parametrize(
    "text",
    [
        "こんにちは、私は青い小さな鳥です。",
        "雨が降ったので、散歩に行きませんでした。",
        "でも、それは少し難しいと思います。",
    ],
)
def test_a_comma_sounds_the_same_at_the_end_of_a_piece(engine: OpenJTalkEngine, text: str) -> None:
    samples = np.frombuffer(engine._speak(text).samples, "<i2").astype(float)
    inside = silence(samples[: len(samples) // 480 * 480])
    outside = COMMA_PAUSE + 2 * EDGE_MS / 1000
    assert outside == pytest.approx(inside, abs=0.06)


def test_only_a_comma_and_the_end_of_a_sentence_make_a_pause() -> None:
    first, second, _ = pieces(prepare("こたつの歴史は室町時代にさかのぼります。はい。", 500))
    assert first.text == "こたつの歴史は"
    assert first.pause < COMMA_PAUSE < second.pause


def knows_nothing(word: str) -> bool:
    return False


def test_a_word_that_open_jtalk_knows_is_written_as_it_knows_it() -> None:
    assert english.katakana("zoom", lambda word: word == "Zoom", unexpected) == "Zoom"


@each("word", ["AB", "ab", "NTT", "xyz".replace("y", "w"), "a" * 25, "W" * 500])
def test_capitals_and_short_and_endless_words_are_spelled(word: str) -> None:
    assert english.katakana(word, knows_nothing, unexpected) == word


def test_words_joined_by_capitals_or_hyphens_are_read_one_by_one() -> None:
    guess = {"blue": "ブルー", "heron": "ヘロン"}.__getitem__
    assert english.katakana("BlueHeron", knows_nothing, guess) == "ブルーヘロン"
    assert english.katakana("blue-heron", knows_nothing, guess) == "ブルーヘロン"


def test_what_the_library_finds_no_end_for_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    import kanalizer

    def endless(word: str, **_: object) -> str:
        raise kanalizer.IncompleteConversionError(word, "")

    monkeypatch.setattr(kanalizer, "convert", endless)
    assert english.guessed("heron") == "heron"


@pytest.mark.slow
def test_the_library_is_not_loaded_before_a_word_needs_it() -> None:
    program = (
        "import sys, kotatsu_voice.app\n"
        "from kotatsu_voice.engines.openjtalk import OpenJTalkEngine\n"
        "engine = OpenJTalkEngine(1); engine._load(); engine.reading('はい。GitHubに2回push。')\n"
        "assert 'kanalizer' not in sys.modules\n"
        "engine.reading('penguins'); assert 'kanalizer' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
