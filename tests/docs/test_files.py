"""Which files are those of the checkout."""

from pathlib import Path

import pytest

from docs import pages


def test_in_a_checkout_without_git_they_are_what_no_command_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    kept = ["README.md", "node/build/go.py"]
    for place in [*kept, "build/site.md", "node/a.pyc", "env/pyvenv.cfg", "env/NOTES.md"]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / ".gitignore").write_text("# made\n/build/\n*.pyc\n")
    found = [pages.name(path) for path in pages.files.__wrapped__()]
    assert found == [".gitignore", *kept]
