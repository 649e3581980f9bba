"""The base of the images loses whole packages, and dpkg's list says so."""

import marshal
import sys
from pathlib import Path

import pytest

import trim

STATUS = """\
Package: perl-base
Essential: yes

Package: coreutils
Essential: yes

Package: libdb5.3
Architecture: amd64
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info.parent / "status").write_text(STATUS)
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/gconv").mkdir(parents=True)
    (tmp_path / "usr/share/doc/perl-base").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    for file in ("perl", "ls", "shared"):
        (tmp_path / "usr/bin" / file).touch()
    (tmp_path / "usr/bin/awk").symlink_to("mawk")
    (tmp_path / "usr/lib/libdb.so").touch()
    (tmp_path / "usr/share/doc/perl-base/copyright").touch()
    (info / "perl-base.list").write_text(
        "/.\n/usr\n/usr/bin/perl\n/usr/bin/shared\n/usr/share/doc/perl-base/copyright\n"
    )
    (info / "perl-base.postinst").touch()
    (info / "coreutils.list").write_text("/bin/ls\n/bin/shared\n")
    (info / "libdb5.3:amd64.list").write_text("/usr/lib/libdb.so\n")
    trim.trim(tmp_path)
    return tmp_path


def test_a_package_goes_with_its_files_and_what_dpkg_knows_of_it(root):
    assert not (root / "usr/bin/perl").exists()
    assert not (root / "usr/lib/libdb.so").exists()
    assert [f.name for f in (root / "var/lib/dpkg/info").iterdir()] == ["coreutils.list"]
    assert (root / "var/lib/dpkg/status").read_text() == ("Package: coreutils\nEssential: yes\n")


def test_what_another_package_has_as_well_stays(root):
    assert (root / "usr/bin/ls").exists()
    assert (root / "usr/bin/shared").exists()


def test_the_licence_of_what_has_gone_stays(root):
    assert (root / "usr/share/doc/perl-base/copyright").exists()


def test_folders_that_belong_to_no_package_alone_go_and_so_do_links_to_nothing(root):
    assert not (root / "usr/lib/x86_64-linux-gnu/gconv").exists()
    assert not (root / "usr/bin/awk").is_symlink()


def test_a_tree_without_dpkg_is_no_error(tmp_path):
    trim.trim(tmp_path)


@pytest.mark.parametrize(
    "name", ["coreutils", "dash", "libc6", "libssl3", "libsqlite3-0", "ca-certificates", "tzdata"]
)
def test_what_a_service_needs_stays(name):
    assert trim.PACKAGES.fullmatch(name) is None


def test_pythons_own_library_is_compiled_where_it_is_not_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "pycache_prefix", None)  # as where an image is built
    library = tmp_path / "usr/local/lib/python3.13"
    (library / "json").mkdir(parents=True)
    (library / "json/tool.py").write_text("where = __file__\n")

    trim.compile_library(tmp_path)

    [compiled] = (library / "json/__pycache__").iterdir()
    code = marshal.loads(compiled.read_bytes()[16:])  # noqa: S302
    assert code.co_filename == "/usr/local/lib/python3.13/json/tool.py"
