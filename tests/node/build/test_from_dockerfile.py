from __future__ import annotations

from pathlib import Path

import pytest

from kotatsu_node.build import from_dockerfile


def test_pip_reads_the_environment_over_its_files() -> None:
    files = ["[global]\nindex-url = http://file.test/\ntimeout = 5\n"]
    settings = from_dockerfile.pip_settings({"PIP_INDEX_URL": "http://env.test/"}, files)
    assert settings == {"index-url": "http://env.test/", "timeout": "5"}


def test_a_password_with_a_percent_sign_is_left_as_it_is() -> None:
    files = ["[global]\nindex-url = http://user:p%40ss@file.test/\n"]
    assert from_dockerfile.pip_settings({}, files)["index-url"] == "http://user:p%40ss@file.test/"


@pytest.mark.parametrize("option", ["user", "target", "require-virtualenv", "cache-dir"])
def test_settings_about_this_machine_do_not_reach_a_build(option: str) -> None:
    assert from_dockerfile.pip_settings({}, [f"[global]\n{option} = yes\n"]) == {}


def test_a_directory_of_wheels_counts_only_when_something_is_in_it(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "a.whl").touch()
    settings = from_dockerfile.pip_settings({"PIP_FIND_LINKS": f"{empty} {full} /not/there"}, [])
    assert settings == {"find-links": str(full)}
    assert from_dockerfile.local_paths(settings) == [full]
    assert from_dockerfile.pip_settings({"PIP_FIND_LINKS": str(empty)}, []) == {}


def test_only_settings_on_reaching_a_mirror_are_taken_from_apt() -> None:
    dump = (
        'Acquire "";\n'
        'Acquire::http::Proxy "http://proxy.test:3128";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::cdrom::mount "/media/cdrom/";\n'
        'Acquire::GzipIndexes "true";\n'
    )
    assert from_dockerfile.apt_settings(dump) == (
        'Acquire::http::Proxy "http://proxy.test:3128";\nAcquire::Check-Valid-Until "false";\n'
    )
