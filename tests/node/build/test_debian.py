from __future__ import annotations

from pathlib import Path

import pytest

from kotatsu_node.build import debian
from kotatsu_node.build.debian import Source

MIRROR = "http://mirror.test/debian"
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


def test_a_deb822_file_gives_one_source_per_address_and_skips_what_is_off() -> None:
    assert debian.parse_deb822(DEB822) == [
        Source(MIRROR, ("bookworm", "bookworm-updates"), ("main",)),
        Source("http://mirror.test/security", ("bookworm-security",), ("main", "contrib")),
    ]


def test_a_one_line_source_is_read_with_and_without_options() -> None:
    text = f"deb {MIRROR} bookworm main contrib # ours\ndeb [arch=amd64] http://b.test/x y main\n"
    assert debian.parse_one_line(text) == [
        Source(MIRROR, ("bookworm",), ("main", "contrib")),
        Source("http://b.test/x", ("y",), ("main",)),
    ]


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


@pytest.mark.parametrize("machine", ["noble", ""])
def test_a_machine_that_is_not_debian_names_no_such_mirror(machine: str) -> None:
    archives = debian.archives_of("trixie", machine, SOURCES)
    assert archives == []
    assert debian.mirror_of("trixie", archives) == ""


def test_both_kinds_of_file_are_read_from_the_apt_directory(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://old.test/debian bookworm main\n")
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "x.list").write_text("deb http://x.test/ stable main\n")
    uris = [source.uri for source in debian.read_sources(tmp_path)]
    assert uris == [
        "http://old.test/debian",
        MIRROR,
        "http://mirror.test/security",
        "http://x.test/",
    ]
