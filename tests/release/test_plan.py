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

GOOD = {
    check_version: ["1.4.0", "0.1.0", "1.4.0-rc.1", "10.20.30-alpha"],
    check_registry: ["registry.example/me", "127.0.0.1:5000/kotatsu", "r.example/a/b-c/d_e"],
    check_source: ["", "https://github.com/me/kotatsu", "http://git.lan/a/b/c"],
}
WRONG = {
    check_version: ["", "v1.4.0", "1.4", "1.4.0+build", "01.4.0", "latest", "1.4.0-"],
    check_registry: [
        *("", "r.example", "https://r.example/me", "r.example/Me", "r.example/me/"),
        *("r.example/me:1.0", "oci://r.example/me"),
    ],
    check_source: [
        *("https://example.com/kotatsu", "https://git.example.org/me/kotatsu"),
        *("github.com/me/kotatsu", "git@github.com:me/kotatsu.git", "https://github.com"),
        *("https://github.com/me/kotatsu.git", "https://github.com/me/kotatsu/"),
    ],
}
EXAMPLE = {
    check_version: "VERSION=1.4.0",
    check_registry: "REGISTRY=registry.example/me",
    check_source: "SOURCE=https://github.com/me/kotatsu",
}


@each("check, value", [(check, value) for check, values in GOOD.items() for value in values])
def test_a_version_a_place_and_a_source_of_their_shape_are_accepted(check, value: str) -> None:
    check(value)


@each("check, value", [(check, value) for check, values in WRONG.items() for value in values])
def test_any_other_is_refused_with_an_example(check, value: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        check(value)
    assert EXAMPLE[check] in caught.value.report()


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
