"""The house's rules of plain words that a machine can judge. `typos` checks the spelling.

STYLE: short sentences with a subject, the field's nouns, and no page that takes longer to read than
its question is worth.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from docs.pages import ROOT, name, pages, prose
from rows import each

_VERBS = """\
accepts adds answers appears applies apply are ask be begin begins belongs can change changes
choose come comes connects costs counts creates defaults deletes deny derives ends explains extend
fails finds follow forward get gets give had has have hold holds installs is joins keep keeps know
knows lead leads learns limit listen listens load loads log makes may means mounts must name names
need needs open permit permits pull pulls reach read reads receives rejects replace replaces
report reports requests requires restarts restores run runs scrapes selects serves set share show
sleep sleeps speaks spread spreads stands start starts stays takes tells tolerate tolerates trusts
updates use uses wait waits wake wakes will win works would
"""
VERBS = frozenset(_VERBS.split())
"""Verbs of the values' comments. Add the verb of a new sentence here."""

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
    "docs/reference/workloads.md": 1200,
}
"""The words of some pages."""
BY_HAND = ("README.md", "docs/tutorials/", "docs/how-to/", "docs/explanation/", "docs/pet/",
           *MOST_OF)  # fmt: skip
"""The pages for users that are not generated."""

USERS = ("README.md", "docs/tutorials/", "docs/how-to/", "docs/reference/", "docs/explanation/",
         "docs/pet/", "docs/runbooks/", "charts/")  # fmt: skip
PAGES = [page for page in pages() if name(page).startswith(USERS)]
NOTES = sorted((ROOT / "charts").glob("*/templates/NOTES.txt"))
ALERTS = ROOT / "charts/kotatsu/rules/kotatsu.yaml"
VALUES = sorted((ROOT / "charts").glob("*/values.yaml"))
CODE = [
    path
    for source in ("operator/src", "operator/plugin/src")
    for path in sorted((ROOT / source).rglob("*.py"))
]


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
    assert sum(words(page.read_text()) for page in by_hand) <= 15_000


def avoided(text: str) -> list[str]:
    """What a text has of what is avoided."""
    return [found[0] for found in AVOIDED.finditer(" ".join(text.split()))]


@each("page", [*PAGES, *NOTES, ALERTS], name)
def test_a_page_has_subjects_with_names(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "`", prose(page.read_text()))
    assert [found for line in re.split(r"\n\n|\n[|*-]", text) for found in avoided(line)] == []


def sentences(comment: str) -> list[str]:
    """The sentences of a comment, without examples and what stands in parentheses."""
    text = re.sub(r"\([^()]*\)|`[^`]*`|\[.*?\]+|\{.*?\}+|https?://\S+", "…", comment)
    parts = re.split(r"(?<=[.?!]) +(?=[A-Z])", text.replace("For example:", "").strip())
    return [part for part in parts if part.strip(" .…:")]


def comments(path: Path) -> Iterator[str]:
    """Each comment of a values.yaml, on one line, without the lines of an example and headings."""
    lines: list[str] = []
    for line in [*path.read_text().splitlines(), ""]:
        text = line.strip()
        if text.startswith("# ---"):
            continue
        if text.startswith("#"):
            lines += [] if text.startswith("#  ") else [text[1:].strip()]
        elif lines:
            yield " ".join(lines)
            lines = []


@each("path", VALUES, name)
def test_each_sentence_about_a_value_has_a_verb_and_a_full_stop(path: Path) -> None:
    told = list(comments(path))
    assert len(told) > 50
    for comment in told:
        assert comment.endswith((".", ":")), comment
        assert avoided(comment) == []
        for sentence in sentences(comment):
            assert VERBS & set(re.findall(r"[a-z]+", sentence.lower())), sentence


def descriptions(node: object) -> Iterator[str]:
    """Each description in a CRD."""
    if isinstance(node, dict):
        if isinstance(node.get("description"), str):
            yield node["description"]
        for part in node.values():
            yield from descriptions(part)
    elif isinstance(node, list):
        for part in node:
            yield from descriptions(part)


def test_each_description_in_a_crd_is_one_as_kubernetes_writes_it() -> None:
    told = [
        description
        for path in (ROOT / "charts/kotatsu/crds").glob("*.yaml")
        for description in descriptions(yaml.safe_load(path.read_text()))
    ]
    assert len(told) > 100
    for description in told:
        assert re.match(r"[A-Z].*[.]$", description, re.DOTALL), description
        assert not re.match(r"(What|When|Where|Which|Whether|Why|How)\b", description), description
        assert avoided(description) == []


def messages(path: Path) -> Iterator[str]:
    """The texts of a module that people may read: its strings of several words, no docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings and text.count(" ") > 2:
            yield text


def test_no_message_and_no_help_has_a_riddle() -> None:
    told = [(name(path), text) for path in CODE for text in messages(path)]
    assert len(told) > 500
    assert [(where, text) for where, text in told if avoided(text)] == []


@each(
    "text, found",
    [
        ("Nothing answers while somebody waits.", ["somebody"]),
        ("It gives the targets their replicas back.", ["gives the targets their replicas back"]),
        ("One that sleeps is not asked.", ["One that sleeps is not asked."]),
        ("Who edits a namespace may use it.", ["Who edits a namespace may use it."]),
        ("Who set the override? The status says it.", []),
    ],
)
def test_a_riddle_is_found(text: str, found: list[str]) -> None:
    assert avoided(text) == found
