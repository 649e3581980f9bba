"""The base of the images loses whole packages, and dpkg's list says so; what stays still works."""

import marshal
import sys
from pathlib import Path

import pytest
from images.conftest import install, installed, library

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


def test_the_license_of_what_has_gone_stays(root):
    assert (root / "usr/share/doc/perl-base/copyright").exists()


def test_folders_that_belong_to_no_package_alone_go_and_so_do_links_to_nothing(root):
    assert not (root / "usr/lib/x86_64-linux-gnu/gconv").exists()
    assert not (root / "usr/bin/awk").is_symlink()


def test_a_library_that_a_remaining_program_needs_stays(tmp_path):
    install(tmp_path, "coreutils", ls=library("libcap.so.2"))
    install(tmp_path, "libcap2", **{"libcap.so.2": library()})
    install(tmp_path, "libudev1", **{"libudev.so.1": library()})

    trim.trim(tmp_path)

    assert installed(tmp_path) == ["coreutils", "libcap2"]
    assert (tmp_path / "usr/lib/libcap.so.2").exists()
    assert not (tmp_path / "usr/lib/libudev.so.1").exists()


def test_a_library_brings_those_that_it_needs(tmp_path):
    install(tmp_path, "libzstd1", **{"libzstd.so.1": library()})
    install(tmp_path, "libssl3t64", **{"libssl.so.3": library("libzstd.so.1")})
    install(tmp_path, "python3.13", **{"_ssl.so": library("libssl.so.3")})

    trim.trim(tmp_path)

    assert installed(tmp_path) == ["libzstd1", "libssl3t64", "python3.13"]


def test_a_library_that_only_goes_with_others_goes_with_them(tmp_path):
    install(tmp_path, "mount", mount=library("libmount.so.1"))
    install(tmp_path, "libmount1", **{"libmount.so.1": library("libblkid.so.1")})
    install(tmp_path, "libblkid1", **{"libblkid.so.1": library()})
    install(tmp_path, "dash", sh=library())

    trim.trim(tmp_path)

    assert installed(tmp_path) == ["dash"]


def test_a_module_of_a_python_that_is_no_package_keeps_its_library(tmp_path):
    install(tmp_path, "libffi8", **{"libffi.so.8": library()})
    install(tmp_path, "libdb5.3t64", **{"libdb-5.3.so": library()})
    modules = tmp_path / "usr/local/lib/python3.13/lib-dynload"
    modules.mkdir(parents=True)
    (modules / "_ctypes.cpython-313.so").write_bytes(library("libffi.so.8"))
    (modules / "_dbm.cpython-313.so").write_bytes(library("libdb-5.3.so"))
    (modules / "_other.cpython-313.so").write_bytes(library("libthat-nobody-has.so.1"))

    trim.trim(tmp_path)

    assert installed(tmp_path) == ["libffi8"]
    assert {module.name.partition(".")[0] for module in modules.iterdir()} == {"_ctypes", "_other"}


def test_pythons_own_library_is_compiled_where_it_is_not_yet(tmp_path, monkeypatch):
    # As where an image is built; workers are a fork of this process, or read the environment anew.
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    library = tmp_path / "usr/local/lib/python3.13"
    (library / "json").mkdir(parents=True)
    (library / "json/tool.py").write_text("where = __file__\n")

    trim.compile_library(tmp_path)

    [compiled] = (library / "json/__pycache__").iterdir()
    code = marshal.loads(compiled.read_bytes()[16:])  # noqa: S302
    assert code.co_filename == "/usr/local/lib/python3.13/json/tool.py"
