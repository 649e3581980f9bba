import re
from pathlib import Path

import pytest

from kotatsu_auth.settings import AuthSettings
from kotatsu_common.settings import load, variable

README = Path(__file__).parents[2] / "services/auth/README.md"
GOOD = {"KOTATSU_GITHUB_CLIENT_ID": "id", "KOTATSU_GITHUB_CLIENT_SECRET": "secret"}


def test_github_com_is_the_default() -> None:
    settings = load(AuthSettings, GOOD)
    assert settings.github_api_url == "https://api.github.com"
    assert settings.github_oauth_url == "https://github.com"


def test_without_credentials_it_does_not_start_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        load(AuthSettings, {})
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "KOTATSU_GITHUB_CLIENT_ID is not set",
        "KOTATSU_GITHUB_CLIENT_SECRET is not set",
    ]


def test_the_readme_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"`(KOTATSU_[A-Z_]+)`", README.read_text()))
    assert named == {variable(field) for field in AuthSettings.model_fields}
