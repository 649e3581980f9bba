"""The pictures of the pages show what there is now, and are small."""

import re
from pathlib import Path

from docs.pages import ROOT, name, pages
from rows import each

import film
import recording
import shown


@each("picture", list(shown.SOURCES))
def test_a_picture_is_newer_than_what_it_shows(picture: str) -> None:
    again = f"run: make pictures PICTURES={Path(picture).stem}"
    assert picture not in shown.stale(), again


def test_a_change_of_what_a_picture_shows_is_noticed_and_no_other(tmp_path: Path) -> None:
    for source in ("services/feed/src/kotatsu_feed/web/pet.css", "README.md"):
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / source).write_text("before")
    before = shown.digest("pet.png", tmp_path)
    (tmp_path / "README.md").write_text("after")
    assert shown.digest("pet.png", tmp_path) == before
    (tmp_path / "services/feed/src/kotatsu_feed/web/pet.css").write_text("after")
    assert shown.digest("pet.png", tmp_path) != before


def test_the_film_is_drawn_from_its_recording() -> None:
    drawn = film.draw(recording.read(film.CAST))
    assert film.FILM.read_text() == drawn, "run: .venv/bin/python tools/pictures/film.py"


def test_the_recording_types_the_commands_of_the_list() -> None:
    typed = [command.line for command in recording.read(film.CAST).commands]
    listed = (ROOT / "tools/pictures/commands.txt").read_text().splitlines()
    assert typed == [line.partition("    #")[0] for line in listed]


def test_the_film_shortens_long_waits_and_folds_long_outputs() -> None:
    printed = [recording.Event(float(n), f"line {n}\r\n") for n in range(10)]
    assert "".join(event.text for event in recording.folded(printed)).split("\r\n") == [
        *(f"line {n}" for n in range(4)),
        "\x1b[2m… 4 more lines …\x1b[0m",
        *("line 8", "line 9", ""),
    ]
    events, cuts = recording.shortened([recording.Event(1, "a"), recording.Event(31, "b")])
    assert [event.at for event in events] == [1, 3]
    assert cuts == [recording.Cut(1, 28)]


@each("page", pages(), name=name)
def test_every_picture_has_a_text_in_its_place(page: Path) -> None:
    for text in re.findall(r"!\[([^]]*)\]\(", page.read_text()):
        assert len(text) > 20, text


def test_every_picture_is_shown_by_a_page() -> None:
    texts = [page.read_text() for page in pages()]
    for picture in shown.SOURCES:
        assert any(f"images/{picture})" in text for text in texts), picture
