"""The last line of `make test`: what it left out, and what runs it."""

from left_out import line


def test_reasons_of_several_runs_are_added_up():
    noted = (
        "3 needs helm: install it\n2 needs Kubernetes: `make programs`\n4 needs helm: install it\n"
    )
    said = line(noted)
    assert said.startswith(
        "Left out: 2 tests (needs Kubernetes: `make programs`), 7 tests (needs helm: install it), "
    )
    assert "\n" not in said


def test_where_nothing_was_missing_the_end_to_end_tests_are_named():
    assert line("") == (
        "Left out: other end-to-end tests (make e2e) and everything else (make test-all)."
    )
