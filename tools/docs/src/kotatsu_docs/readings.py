"""The samples of services/voice/readings.md, as rows and as sound."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("services/voice/readings.md")
_ROW = re.compile(r"^\| `(.+?)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """A text, and its readings in katakana without this service's rules and with them."""

    text: str
    before: str
    now: str


def samples(page: str) -> list[Sample]:
    """The rows of the page's table."""
    return [Sample(*row) for row in _ROW.findall(page)]


def write(root: Path, folder: Path) -> Iterator[tuple[Path, Sample]]:
    """Speak each sample of the page of `root` into an mp3 of its own in `folder`."""
    # The page can be read where the voice's libraries are not installed.
    from kotatsu_voice import audio, text
    from kotatsu_voice.engines.openjtalk import MEI, RATE, OpenJTalkEngine

    folder.mkdir(parents=True, exist_ok=True)
    engine = OpenJTalkEngine(1)
    asyncio.run(engine.start())
    for number, sample in enumerate(samples((root / PAGE).read_text()), start=1):
        mp3 = audio.Mp3(RATE)
        sound = b""
        for piece in text.pieces(text.prepare(sample.text, limit=500)):
            pcm = asyncio.run(engine.synthesize(piece.text, MEI))
            sound += mp3.add(audio.polish(pcm)) + mp3.add(audio.silence(piece.pause, RATE))
        path = folder / f"{number:02}.mp3"
        path.write_bytes(sound + mp3.end())
        yield path, sample
    asyncio.run(engine.close())
