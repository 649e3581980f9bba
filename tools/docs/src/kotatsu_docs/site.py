"""The pages as a site, whose links leave it where they must.

The site has the pages of docs/ with their pictures and style sheet, and no other file of the
repository. A link to one of those leads to the repository on its host.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath

_LINK = re.compile(r"\[([^\[\]]*(?:\[[^\]]*\][^\[\]]*)*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def pages(root: Path) -> dict[PurePosixPath, PurePosixPath]:
    """The pages of the site: path in the repository to path in the site."""
    return _in_docs(root, "*.md")


def assets(root: Path) -> dict[PurePosixPath, PurePosixPath]:
    """What belongs to the pages, in the same form: pictures and the style sheet."""
    return {
        p: at for kind in ("svg", "png", "css") for p, at in _in_docs(root, f"*.{kind}").items()
    }


def _in_docs(root: Path, pattern: str) -> dict[PurePosixPath, PurePosixPath]:
    found = sorted((root / "docs").rglob(pattern))
    paths = [PurePosixPath(path.relative_to(root).as_posix()) for path in found]
    return {path: path.relative_to("docs") for path in paths}


def relink(
    text: str, page: PurePosixPath, known: dict[PurePosixPath, PurePosixPath], url: str
) -> str:
    """A page's text with its links as they lead from the site.

    `url` is where the host shows a file of the repository, without the file's path. If it is empty,
    the words of a link to such a file stay without the link.
    """
    here = known[page].parent

    def link(found: re.Match[str]) -> str:
        words, path, anchor = found.groups(default="")
        if not path or re.match(r"\w+:", path):
            return found[0]
        target = PurePosixPath(normpath(page.parent / path))
        if target in known:
            return f"[{words}]({_relative(known[target], here)}{anchor})"
        return f"[{words}]({url}/{target}{anchor})" if url else words

    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(p if p.startswith("```") else _LINK.sub(link, p) for p in parts)


def _relative(target: PurePosixPath, folder: PurePosixPath) -> str:
    ups = "../" * len(folder.parts)
    return f"{ups}{target}"


def write(root: Path, into: Path, url: str) -> int:
    """Write the site's pages, and what belongs to them, into a folder; the number of pages."""
    of_text, others = pages(root), assets(root)
    known = of_text | others
    for place in known.values():
        (into / place).parent.mkdir(parents=True, exist_ok=True)
    for page, place in of_text.items():
        (into / place).write_text(relink((root / page).read_text(), page, known, url))
    for path, place in others.items():
        shutil.copyfile(root / path, into / place)
    for stale in _files(into) - set(known.values()):
        (into / stale).unlink()
    return len(of_text)


def _files(folder: Path) -> set[PurePosixPath]:
    def found() -> Iterator[PurePosixPath]:
        for path in folder.rglob("*"):
            if path.is_file():
                yield PurePosixPath(path.relative_to(folder).as_posix())

    return set(found())
