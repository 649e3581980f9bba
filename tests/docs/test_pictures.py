"""The pictures of the pages show what there is now, and are small."""

import re
from pathlib import Path

from docs.pages import name, pages
from rows import each

import film
import recording
import shown


@each("picture", list(shown.SOURCES))
def test_a_picture_is_newer_than_what_it_shows(picture: str) -> None:
    again = f"run: make pictures PICTURES={Path(picture).stem}"
    assert picture not in shown.stale(), again


def test_the_film_is_drawn_from_its_recording() -> None:
    drawn = film.draw(recording.read(film.CAST))
    assert film.FILM.read_text() == drawn, "run: .venv/bin/python tools/pictures/film.py"


@each("page", pages(), name=name)
def test_every_picture_has_a_text_in_its_place(page: Path) -> None:
    for text in re.findall(r"!\[([^]]*)\]\(", page.read_text()):
        assert len(text) > 20, text


def test_every_picture_is_shown_by_a_page() -> None:
    texts = [page.read_text() for page in pages()]
    for picture in shown.SOURCES:
        assert any(f"images/{picture})" in text for text in texts), picture
