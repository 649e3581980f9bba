"""The house's rules of plain words that a machine can judge. `typos` checks the spelling.

STYLE: short sentences with a subject, the field's nouns, and no page that takes longer to read than
its question is worth.
"""

import re
from pathlib import Path

from docs.pages import ROOT, name, pages, prose
from rows import each

AVOIDED = re.compile(
    r"\b(?i:whoever|(?:some|any|every)(?:body|one)|nobody)\b"
    r"|\b(?:give[sn]?|gave)\b[^.;:|`]{0,40}\bback\b"
    r"|\b(?:take[sn]?|took)\b[^.;:|`]{0,20}\baway\b"
    r"|(?:^|[.:;] )(?:Who|One that)\b[^?]*[.]"
)
"""No subjects: name the pod, the client, the operator. No riddles: restore, withdraw."""

MOST = {"how-to": 400, "explanation": 700}
"""The words of a page in a folder of docs/."""
MOST_OF = {
    "README.md": 700,
    "docs/how-to/troubleshooting.md": 1200,
    "docs/reference/workloads.md": 760,
}
"""The words of some pages."""
BY_HAND = ("README.md", "docs/index.md", "docs/tutorials/", "docs/how-to/", "docs/explanation/",
           "docs/pet/", *MOST_OF)  # fmt: skip
"""The pages for users that are not generated."""

USERS = ("README.md", "docs/index.md", "docs/tutorials/", "docs/how-to/", "docs/reference/",
         "docs/explanation/", "docs/pet/", "docs/runbooks/", "charts/")  # fmt: skip
PAGES = [page for page in pages() if name(page).startswith(USERS)]
NOTES = sorted((ROOT / "charts").glob("*/templates/NOTES.txt"))
ALERTS = ROOT / "charts/kotatsu/rules/kotatsu.yaml"


def words(text: str) -> int:
    """The words that are read: without code blocks, the addresses of links and tables' bars."""
    found = re.sub(r"\]\([^)]*\)", "]", prose(text)).split()
    return sum(bool(word.strip("|-:")) for word in found)


def most(page: Path) -> int | None:
    """The most words of a page; None without a limit."""
    folder = page.parent.relative_to(ROOT).as_posix().removeprefix("docs/")
    return MOST_OF.get(name(page), MOST.get(folder))


@each("page", [page for page in PAGES if most(page)], name=name)
def test_a_page_is_read_in_a_few_minutes(page: Path) -> None:
    assert words(page.read_text()) <= (most(page) or 0)


def test_the_pages_for_users_are_read_in_an_hour() -> None:
    by_hand = [page for page in PAGES if name(page).startswith(BY_HAND)]
    assert sum(words(page.read_text()) for page in by_hand) <= 14_900


@each("page", [*PAGES, *NOTES, ALERTS], name)
def test_a_page_has_subjects_with_names(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "`", prose(page.read_text()))
    for line in re.split(r"\n\n|\n[|*-]", text):
        assert AVOIDED.search(" ".join(line.split())) is None, line
