from __future__ import annotations

from pathlib import Path

import pytest

from kotatsu_node.build import debian
from kotatsu_node.build.debian import Source

MIRROR = "http://mirror.test/debian"
ONE_LINE = f"""\
# deb http://old.test/debian bookworm main
deb-src {MIRROR} bookworm main
deb {MIRROR} bookworm main contrib # ours
deb [arch=amd64] http://b.test/x y main
"""
DEB822 = f"""\
Types: deb
# an older snapshot stood here
URIs: {MIRROR}
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb deb-src
URIs: http://mirror.test/security
Suites: bookworm-security
Components: main contrib

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""


SOURCES = [
    Source("http://vendor.test/node", ("nodistro",), ("main",)),
    Source("http://mirror.test/security", ("bookworm-security",), ("main",)),
    Source(MIRROR, ("bookworm", "bookworm-backports"), ("main",)),
]


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_the_mirrors_of_the_machines_own_release_have_the_others_of_debian(release: str) -> None:
    archives = debian.archives_of(release, "bookworm", SOURCES)
    assert archives == [
        Source("http://mirror.test/security", (f"{release}-security",), ("main",)),
        Source(MIRROR, (release,), ("main",)),
    ]
    assert debian.mirror_of(release, archives) == MIRROR


def test_a_machine_that_is_not_debian_names_no_such_mirror() -> None:
    assert debian.archives_of("trixie", "noble", SOURCES) == []
    assert debian.mirror_of("trixie", []) == ""


def test_both_kinds_of_file_are_read_without_what_is_off_or_no_archive(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "x.list").write_text("deb http://x.test/ stable main\n")
    assert debian.read_sources(tmp_path) == [
        Source(MIRROR, ("bookworm",), ("main", "contrib")),
        Source("http://b.test/x", ("y",), ("main",)),
        Source(MIRROR, ("bookworm", "bookworm-updates"), ("main",)),
        Source("http://mirror.test/security", ("bookworm-security",), ("main", "contrib")),
        Source("http://x.test/", ("stable",), ("main",)),
    ]
