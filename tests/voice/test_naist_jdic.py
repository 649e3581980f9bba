"""Texts and how voicevox_core reads them: Open JTalk 1.11 with its own dictionary, naist-jdic.

Debian has both as they are. What the voice's own library adds to them, voicevox_core lacks.
"""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile

import needs
import pytest
from packages import CannotInstallError, install
from voice.test_reading import CASES

from kotatsu_voice.reading import english, read
from kotatsu_voice.text import pieces, prepare

DICTIONARY = Path("/var/lib/mecab/dic/open-jtalk/naist-jdic")
OTHERWISE = {
    "A〜Z": "エイカラズィー",
    "60km/h": "ロクジューキロメートルマイジ",
    "Grafana": "グラフアナ",
    "iPhone": "アイフォーン",
    "iPhone 17 Pro": "アイフォーンジューナナプロ",
    "A-1": "エイイチ",
    "4K": "ヨンケイ",
}
"""What it reads in another way than the table has it."""


def heard(reading: str) -> str:
    """A reading without its pauses: where a pause is, the two libraries differ."""
    return reading.translate(dict.fromkeys(map(ord, "、！？ ’")))


def reading(written: str, folder: Path) -> str:
    """How the program reads it; spoken fast, because it always speaks."""
    import pyopenjtalk

    with NamedTemporaryFile("r", dir=folder) as trace:
        options = ["-m", pyopenjtalk.DEFAULT_HTS_VOICE, "-r", "50", "-ot", trace.name]
        program = ["open_jtalk", "-x", DICTIONARY, *options]
        subprocess.run(program, input=written.encode(), check=True)
        words = trace.read().partition("\n[Output label]")[0].splitlines()[1:]
    return "".join(word.rsplit(",", 4)[1] for word in words if word)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_text_is_read_as_people_read_it_by_voicevox_core_too(tmp_path: Path) -> None:
    if shutil.which("open_jtalk") is None or not DICTIONARY.exists():
        try:
            install("open-jtalk", "open-jtalk-mecab-naist-jdic")
        except CannotInstallError as error:
            needs.missing("Open JTalk", f"none here, and {error}")
    word = english.reader(lambda _: False)  # as VoicevoxEngine

    def of(text: str) -> str:
        written = [read(piece.text, word) for piece in pieces(prepare(text, 500))]
        return heard("".join(reading(part, tmp_path) for part in written))

    with ThreadPoolExecutor(2) as pool:
        readings = dict(zip([text for text, _ in CASES], pool.map(of, dict(CASES)), strict=True))
    otherwise = {text: readings[text] for text, said in CASES if heard(said) != readings[text]}
    assert otherwise == OTHERWISE
