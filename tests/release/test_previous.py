"""Which commit the end-to-end tests upgrade from."""

from pathlib import Path

import pytest
from e2e import previous
from release.conftest import git


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with three commits and no release."""
    monkeypatch.delenv("KOTATSU_SOAK_PREVIOUS", raising=False)
    git(tmp_path, "init", "--quiet")
    for number in range(3):
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", str(number))
    return tmp_path


def test_it_is_the_newest_release_below_this_commit(checkout: Path) -> None:
    git(checkout, "tag", "v1.0.0", "HEAD~2")
    git(checkout, "tag", "v1.1.0", "HEAD~1")
    git(checkout, "tag", "nightly", "HEAD~1")
    git(checkout, "tag", "v1.2.0", "HEAD")
    assert previous.previous_commit(checkout) == git(checkout, "rev-parse", "v1.1.0")


def test_without_a_release_it_is_the_commit_that_is_named_here(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = git(checkout, "rev-parse", "HEAD~2")
    monkeypatch.setattr(previous, "BEFORE_RELEASES", first)
    assert previous.previous_commit(checkout) == first


def test_a_shallow_clone_has_none(checkout: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(checkout, "clone", "--quiet", "--depth=1", f"file://{checkout}", str(shallow))
    assert previous.previous_commit(shallow) == ""


def test_a_history_without_the_commit_says_what_to_fetch(checkout: Path) -> None:
    wanted = previous.BEFORE_RELEASES
    with pytest.raises(pytest.fail.Exception, match=f"no commit {wanted}.*git fetch --tags"):
        previous.previous_commit(checkout)
