"""What can be released, and where to."""

import pytest
from rows import each

from kotatsu_release.errors import ReleaseError
from kotatsu_release.plan import (
    check_changelog,
    check_registry,
    check_source,
    check_version,
    speaks_plain_http,
)


@each("version", ["1.4.0", "0.1.0", "1.4.0-rc.1", "10.20.30-alpha"])
def test_a_semantic_version_can_be_released(version: str) -> None:
    check_version(version)


@each("version", ["", "v1.4.0", "1.4", "1.4.0+build", "01.4.0", "latest", "1.4.0-"])
def test_any_other_version_is_refused_with_an_example(version: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        check_version(version)
    assert "VERSION=1.4.0" in caught.value.report()


@each("registry", ["registry.example/me", "127.0.0.1:5000/kotatsu", "r.example/a/b-c/d_e"])
def test_host_and_path_name_a_place_in_a_registry(registry: str) -> None:
    check_registry(registry)


@each("registry", [
    "", "r.example", "https://r.example/me", "r.example/Me", "r.example/me/", "r.example/me:1.0",
    "oci://r.example/me",
])  # fmt: skip
def test_any_other_place_is_refused(registry: str) -> None:
    with pytest.raises(ReleaseError, match="names no place in a registry"):
        check_registry(registry)


def test_the_refusal_names_the_variable_that_was_given() -> None:
    with pytest.raises(ReleaseError) as caught:
        check_registry("https://r", "IMAGE_PREFIX")
    assert "IMAGE_PREFIX=registry.example/me" in caught.value.report()


def test_only_a_registry_on_this_machine_is_spoken_to_without_tls() -> None:
    assert speaks_plain_http("127.0.0.1:5000/kotatsu")
    assert speaks_plain_http("localhost/kotatsu")
    assert not speaks_plain_http("localhost.example/kotatsu")
    assert not speaks_plain_http("10.0.0.1:5000/kotatsu")


def test_a_version_needs_a_section_of_the_changelog() -> None:
    check_changelog("1.4.0", "# Changelog\n\n## [1.4.0] - 2030-01-01\n")
    with pytest.raises(ReleaseError) as caught:
        check_changelog("1.4.0", "## [Unreleased]\n\n## [1.4.0-rc.1]\n\n## [1.400]\n")
    assert "## [1.4.0] - YYYY-MM-DD" in caught.value.report()


@each("source", ["", "https://github.com/me/kotatsu", "http://git.lan/a/b/c"])
def test_charts_are_made_for_the_address_of_a_repository_or_for_none(source: str) -> None:
    check_source(source)


@each("source", [
    "https://example.com/kotatsu", "https://git.example.org/me/kotatsu", "github.com/me/kotatsu",
    "git@github.com:me/kotatsu.git", "https://github.com/me/kotatsu.git", "https://github.com",
    "https://github.com/me/kotatsu/",
])  # fmt: skip
def test_a_placeholder_or_what_no_browser_opens_is_no_address(source: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        check_source(source)
    assert "SOURCE=https://github.com/me/kotatsu" in caught.value.report()
