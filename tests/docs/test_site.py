"""The pages as a site: every page is there once, and every link still leads to its target."""

import re
from pathlib import Path, PurePosixPath

import yaml

from kotatsu_docs.__main__ import ROOT
from kotatsu_docs.site import pages, relink, write

HOST = "https://git.example/blob/main"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text().replace("!ENV", ""))
PAGES = pages(ROOT)


def test_without_an_address_of_the_repository_the_words_stay() -> None:
    text = relink(
        "[the [x] chart](../../charts/pet)", PurePosixPath("docs/pet/index.md"), PAGES, ""
    )
    assert text == "the [x] chart"


def test_what_the_theme_asks_for_is_part_of_the_site(tmp_path: Path) -> None:
    write(ROOT, tmp_path, HOST)
    theme = CONFIG["theme"]
    for file in (theme["logo"], theme["favicon"], *CONFIG["extra_css"]):
        assert (tmp_path / file).is_file(), file


def test_no_link_and_no_picture_of_the_site_leads_nowhere(tmp_path: Path) -> None:
    assert write(ROOT, tmp_path, HOST) == len(PAGES)
    for path in tmp_path.rglob("*.md"):
        prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s#]+)", prose):
            if not re.match(r"\w+:", link):
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_every_page_can_be_found_in_the_menu() -> None:
    shown = set(re.findall(r"[\w./-]+\.md", str(CONFIG["nav"])))
    listed = {"decisions", "runbooks"}  # each by a page of its own
    pages = {str(place) for place in PAGES.values() if place.parts[0] not in listed}
    assert {page for page in shown if page.split("/")[0] not in listed} == pages
