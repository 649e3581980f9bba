"""The addresses that released charts name: all are made from the address of the repository.

A checkout names none, because a placeholder would be a link that leads nowhere. A release that is
not told the address writes none either.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath

from kotatsu_release.errors import ReleaseError

ICON = "docs/icon.svg"
RULES = "charts/kotatsu/rules/kotatsu.yaml"
_METADATA = re.compile(r"^# A release adds home, .*\n", re.MULTILINE)
_RUNBOOK = re.compile(r"^( +runbook_url: )(\S+)$", re.MULTILINE)
_LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s#]+)")


@dataclass(frozen=True)
class Addresses:
    """Where a host such as GitHub or GitLab shows the files of a version, once its tag is there."""

    tree: Path
    """The files of the version."""
    source: str
    """Address of the repository; empty: not known."""
    version: str

    def write(self, charts: tuple[str, ...]) -> None:
        """Write the addresses into the charts of the tree.

        Raises ReleaseError if an address would lead to a file that the tree does not have.
        """
        for chart in charts:
            folder = f"charts/{chart}"
            _rewrite(self.tree / folder / "Chart.yaml", _METADATA, lambda _: self._metadata())
            if self.source:
                _rewrite(self.tree / folder / "README.md", _LINK, self._in(folder))
        if self.source:
            _rewrite(self.tree / RULES, _RUNBOOK, self._in("."))

    def page(self, path: str, form: str = "blob") -> str:
        """The address of a file of this version; ReleaseError if there is no such file."""
        if not (self.tree / path).exists():
            raise ReleaseError(
                f"a chart links to {path}, which is not in the commit",
                hint="correct the link in charts/, and commit",
            )
        return f"{self.source}/{form}/v{self.version}/{path}"

    def _metadata(self) -> str:
        if not self.source:
            return ""
        icon = self.page(ICON, "raw")
        return f"home: {self.source}\nicon: {icon}\nsources: [{self.source}]\n"

    def _in(self, folder: str) -> Callable[[re.Match[str]], str]:
        def link(found: re.Match[str]) -> str:
            return found[1] + self.page(normpath(f"{folder}/{found[2]}"))

        return link


def _rewrite(file: Path, pattern: re.Pattern[str], new: Callable[[re.Match[str]], str]) -> None:
    file.write_text(pattern.sub(new, file.read_text()))
