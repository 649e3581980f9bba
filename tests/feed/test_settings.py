import re
import subprocess
import sys
from pathlib import Path

import pytest

from kotatsu_common.settings import load, variable
from kotatsu_feed.settings import FeedSettings

README = Path(__file__).parents[2] / "services/feed/README.md"


def test_it_starts_without_any_variable() -> None:
    settings = load(FeedSettings, {})
    assert settings.github_api_url == "https://api.github.com"
    assert settings.database.render_as_string() == "sqlite+aiosqlite:///kotatsu-feed.sqlite3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://user:hunter2@host/pets"),
        ("DATABASE_URL", "hunter2"),
        ("AUTH_URL", "auth:8080/hunter2"),
        ("CONTRIBUTIONS_TTL", "hunter2"),
        ("PORT", "hunter2"),
    ],
)
def test_a_wrong_value_is_one_line_without_the_value(
    capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        load(FeedSettings, {f"KOTATSU_{name}": value})
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"KOTATSU_{name} is wrong: ")
    assert "hunter2" not in line


def test_the_readme_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"`(KOTATSU_[A-Z_]+)`", README.read_text()))
    assert named == {variable(field) for field in FeedSettings.model_fields}


def test_the_password_of_the_database_is_not_shown() -> None:
    settings = load(FeedSettings, {"KOTATSU_DATABASE_URL": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(settings.database)


@pytest.mark.slow
def test_a_database_that_can_not_be_used_ends_the_start_with_one_clear_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kotatsu_feed"],
        env={
            "KOTATSU_DATABASE_URL": "sqlite:////nowhere/at/all/pets.sqlite3",
            "KOTATSU_DATABASE_WAIT": "0",
            "KOTATSU_PORT": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert "KOTATSU_DATABASE_URL" in line
    assert "unable to open database file" in line
