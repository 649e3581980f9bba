import pytest
from pydantic import Field, SecretStr, model_validator

from kotatsu_common.settings import ServiceSettings, command, load, usage


class Settings(ServiceSettings):
    auth_url: str = Field(description="where auth is")
    api_key: SecretStr | None = Field(None, min_length=8, description="a key")
    rooms: int = Field(1, description="rooms")

    @model_validator(mode="after")
    def _rule(self) -> "Settings":
        if self.rooms == 13:
            raise ValueError("KOTATSU_ROOMS: 13 brings bad luck with KOTATSU_AUTH_URL")
        return self


GOOD = {"KOTATSU_AUTH_URL": "http://auth"}


def refusal(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as stop:
        load(Settings, environ)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_the_environment_sets_each_field() -> None:
    settings = load(Settings, {**GOOD, "KOTATSU_PORT": "9000", "KOTATSU_LOG_LEVEL": "WARNING"})
    assert (settings.port, settings.log_level, settings.host) == (9000, "warning", "0.0.0.0")


def test_origins_are_a_comma_separated_list() -> None:
    settings = load(
        Settings, {**GOOD, "KOTATSU_CORS_ORIGINS": "https://a.example, https://b.example"}
    )
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    for good in ("http://localhost:8080", "https://[::1]:8443", "*,https://a.example"):
        assert load(Settings, {**GOOD, "KOTATSU_CORS_ORIGINS": good}).cors_origins
    assert load(Settings, GOOD).cors_origins == ("*",)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(Settings, {**GOOD, "KOTATSU_PORT": ""}).port == 8080


def test_a_missing_variable_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal({}, capsys) == ["KOTATSU_AUTH_URL is not set"]


def test_each_wrong_variable_gets_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = refusal({**GOOD, "KOTATSU_PORT": "http", "KOTATSU_LOG_LEVEL": "loud"}, capsys)
    assert [line.split(" is wrong: ")[0] for line in lines] == ["KOTATSU_PORT", "KOTATSU_LOG_LEVEL"]


def test_a_secret_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = refusal({**GOOD, "KOTATSU_API_KEY": "s3cret"}, capsys)
    assert "KOTATSU_API_KEY is wrong" in line
    assert "s3cret" not in line


def test_a_rule_over_several_variables_speaks_for_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert refusal({**GOOD, "KOTATSU_ROOMS": "13"}, capsys) == [
        "KOTATSU_ROOMS: 13 brings bad luck with KOTATSU_AUTH_URL"
    ]


def test_a_port_from_a_kubernetes_service_link_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = refusal({**GOOD, "KOTATSU_PORT": "tcp://10.96.0.7:80"}, capsys)
    assert "enableServiceLinks" in line


def test_building_settings_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOTATSU_PORT", "1")
    assert Settings(auth_url="http://auth").port == 8080
    monkeypatch.setenv("KOTATSU_AUTH_URL", "http://auth")
    assert load(Settings).port == 1


def test_help_explains_every_variable() -> None:
    text = usage(Settings, "kotatsu-x", "Does x.")
    for name, field in Settings.model_fields.items():
        assert f"KOTATSU_{name.upper()}\n" in text
        assert field.description
        assert field.description in text
    assert "one of debug, info, warning, error; default info" in text
    assert "(required)" in text


def test_h_prints_the_help_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command(Settings, "kotatsu-x", "Does x.", ["-h"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: kotatsu-x [-h]")


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command(Settings, "kotatsu-x", "Does x.", ["--port=1"])
    assert stop.value.code == 2
    assert "kotatsu-x -h" in capsys.readouterr().err
