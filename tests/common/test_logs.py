import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from rows import each

from kotatsu_common.logs import Human, JsonLines, configure, mask


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    names = ["", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "httpx", "httpcore"]
    loggers = [logging.getLogger(name) for name in names]
    saved = [(g, g.handlers[:], g.level, g.propagate, g.disabled) for g in loggers]
    yield
    logging.captureWarnings(False)
    for logger, handlers, level, propagate, disabled in saved:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("kotatsu.x", logging.INFO, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


def test_away_from_a_terminal_each_record_is_one_json_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("info")
    logging.getLogger("kotatsu.x").info("bird\nsang %d", 3, extra={"seconds": 0.5})
    (entry,) = lines(capsys)
    assert entry["message"] == "bird\nsang 3"
    assert (entry["level"], entry["logger"], entry["seconds"]) == ("info", "kotatsu.x", 0.5)


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning")
    logging.getLogger("kotatsu.x").info("quiet")
    assert lines(capsys) == []


def test_uvicorn_joins_in_and_its_access_log_stays_off(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info('"GET /token?code=abc HTTP/1.1" 200')
    assert [entry["message"] for entry in lines(capsys)] == ["started"]


def test_httpx_does_not_print_the_addresses_it_calls(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    logging.getLogger("httpx").info("HTTP Request: GET http://x/?text=hello")
    assert lines(capsys) == []


def test_an_exception_is_part_of_its_line_and_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    try:
        raise ValueError("GET http://x/y?code=topsecret failed")
    except ValueError:
        logging.getLogger("kotatsu.x").exception("oh")
    (entry,) = lines(capsys)
    assert "ValueError" in str(entry["error"])
    assert "topsecret" not in str(entry)


def test_warnings_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old ways", UserWarning, stacklevel=1)
    (entry,) = lines(capsys)
    assert "old ways" in str(entry["message"])


@each(
    "text",
    [
        "Authorization: Bearer hunter2",
        "{'authorization': 'token hunter2'}",
        "(b'authorization', b'hunter2')",
        "x-goog-api-key: hunter2",
        "GET /token?code=hunter2 HTTP/1.1",
        "GET /token??code=hunter2",
        "GET /x?a?b?code=hunter2&x",
        "http://engine:50021/audio_query?text=hunter2&speaker=3",
        "used gho_hunter2 today",
        "github_pat_hunter2",
    ],
)
def test_secrets_and_query_strings_are_masked(text: str) -> None:
    assert "hunter2" not in mask(text)


@each("text", ["Is it ready? yes", "GET /voice took 3 s", "a=b"])
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert mask(text) == text


def test_a_line_for_people_stays_one_line_and_shows_extras() -> None:
    line = Human().format(record("path %s", "/a\r\x1b[31mred", status=200))
    assert "\r" not in line
    assert "\x1b" not in line
    assert line.endswith("status=200")


def test_extras_that_are_not_plain_are_masked_too() -> None:
    entry = json.loads(JsonLines().format(record("x", url="http://x/?code=hunter2")))
    assert "hunter2" not in entry["url"]
