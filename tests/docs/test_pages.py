"""Links, commands and paths in the pages lead to something."""

import re
from pathlib import Path

from docs.pages import ROOT, anchors, code, files, name, pages, prose
from rows import each

each_page = each("page", pages(), name)
KNOWN = {name(path) for path in files()}
TOP = {path.split("/")[0] for path in KNOWN if "/" in path}
FOLDERS = {str(parent) for path in KNOWN for parent in Path(path).parents}
MODULES = {
    "/".join(Path(path).parts[n:]) for path in KNOWN if path.endswith(".py") for n in range(9)
}
MADE = ("build/", ".venv/", ".cache/")
"""Folders that commands make."""


@each_page
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for part in code(page.read_text())
        for target in re.findall(r"^(?:[A-Z]+=\S+ )*make ([a-z0-9-]+)", part, re.MULTILINE)
    }
    assert named <= targets


@each_page
def test_every_path_in_the_repository_is_there(page: Path) -> None:
    for part in code(page.read_text()):
        for word in re.findall(r"(?<![\w./:@$-])[\w.-]+/[\w./-]+(?![\w/*{<…])", part):
            path = word.rstrip("/.")
            if path.split("/")[0] in TOP and not path.startswith(MADE):
                assert path in KNOWN | FOLDERS, word


@each_page
def test_every_module_that_is_named_is_there(page: Path) -> None:
    for part in code(page.read_text()):
        for module in re.findall(r"(?<![\w/*])((?:\w+/)*\w+\.py)\b", part):
            assert module in MODULES, module
