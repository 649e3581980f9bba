"""The pages as a site: every page is there once, and every link still leads to its target."""

import re
from pathlib import Path, PurePosixPath

import yaml

from kotatsu_docs.__main__ import ROOT
from kotatsu_docs.site import pages, relink, write

HOST = "https://git.example/blob/main"
PAGES = pages(ROOT)


def linked(text: str, page: str) -> str:
    return relink(text, PurePosixPath(page), PAGES, HOST)


def _shown(page: str) -> list[str]:
    """The addresses of a page's pictures."""
    return re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)


def test_the_readme_is_the_first_page() -> None:
    assert PAGES[PurePosixPath("README.md")] == PurePosixPath("index.md")
    assert linked("[cost](docs/explanation/cost.md)", "README.md") == "[cost](explanation/cost.md)"


def test_a_page_leads_back_to_the_first_one() -> None:
    assert linked("[start](../../README.md)", "docs/explanation/cost.md") == "[start](../index.md)"


def test_a_link_between_pages_keeps_its_heading() -> None:
    text = linked("[why](../explanation/cost.md#x)", "docs/runbooks/KotatsuWakeSlow.md")
    assert text == "[why](../explanation/cost.md#x)"


def test_what_is_no_page_is_shown_by_the_repository() -> None:
    assert (
        linked("[chart](../../charts/pet)", "docs/explanation/cost.md")
        == f"[chart]({HOST}/charts/pet)"
    )


def test_without_an_address_of_the_repository_the_words_stay() -> None:
    text = relink(
        "[the [x] chart](../../charts/pet)", PurePosixPath("docs/pet/index.md"), PAGES, ""
    )
    assert text == "the [x] chart"


def test_a_picture_and_what_the_theme_asks_for_are_part_of_the_site(tmp_path: Path) -> None:
    write(ROOT, tmp_path, HOST)
    page = (tmp_path / "benchmarks" / "README.md").read_text()
    pictures = _shown(page)
    assert pictures
    assert all((tmp_path / "benchmarks" / picture).is_file() for picture in pictures)
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    for file in (config["theme"]["logo"], config["theme"]["favicon"], *config["extra_css"]):
        assert (tmp_path / file).is_file(), file


def test_the_readme_shows_the_pictures_of_the_repository_on_the_site_too(tmp_path: Path) -> None:
    write(ROOT, tmp_path, HOST)
    there = {
        path.name for path in (ROOT / "docs/images").iterdir() if path.suffix in (".svg", ".png")
    }
    assert {path.name for path in (tmp_path / "images").iterdir()} == there
    for page in ("index.md", "benchmarks/README.md"):
        text = (tmp_path / page).read_text()
        assert all((tmp_path / page).parent.joinpath(found).is_file() for found in _shown(text)), (
            page
        )


def test_addresses_and_code_stay_as_they_are() -> None:
    text = "[k8s](https://kubernetes.io)\n```\n[x](../charts)\n```\n[here](#there)"
    assert linked(text, "docs/explanation/cost.md") == text


def test_no_link_of_the_site_leads_nowhere(tmp_path: Path) -> None:
    assert write(ROOT, tmp_path, HOST) == len(PAGES)
    for path in tmp_path.rglob("*.md"):
        prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s#]+)", prose):
            if not re.match(r"\w+:", link):
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_a_page_that_is_gone_leaves_the_site(tmp_path: Path) -> None:
    (tmp_path / "old.md").touch()
    write(ROOT, tmp_path, HOST)
    assert not (tmp_path / "old.md").exists()


def test_every_page_can_be_found_in_the_menu() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    shown = set(re.findall(r"[\w./-]+\.md", str(menu)))
    listed = {"decisions", "runbooks"}  # each by a page of its own
    pages = {str(place) for place in PAGES.values() if place.parts[0] not in listed}
    assert {page for page in shown if page.split("/")[0] not in listed} == pages
