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


def test_what_has_no_number_is_said_as_it_is():
    assert line("end-to-end tests (no cluster)\n", "the slow ones") == (
        "Left out: the slow ones, end-to-end tests (no cluster), what takes long (make test-all)."
    )
