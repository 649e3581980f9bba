"""The command: what it says, and how it serves as a process."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from voice.fakes import Heard

from kotatsu_common.settings import ServiceSettings
from kotatsu_voice.__main__ import main
from kotatsu_voice.settings import VoiceSettings

COMMON = ServiceSettings.model_fields.keys()


Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: its exit code, and what it says."""

    def run(*arguments: str, **environ: str) -> tuple[object, str, str]:
        for name in [name for name in os.environ if name.startswith("KOTATSU_")]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["kotatsu-voice", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_h_documents_every_variable(run: Run) -> None:
    code, out, _ = run("-h")
    assert code == 0
    for field in VoiceSettings.model_fields:
        assert f"KOTATSU_{field.upper()}" in out


def test_the_readme_documents_every_variable() -> None:
    services = Path(__file__).parents[2] / "services"
    for readme, fields in (
        (services / "common/README.md", ServiceSettings.model_fields),
        (services / "voice/README.md", VoiceSettings.model_fields.keys() - COMMON),
    ):
        text = readme.read_text()
        assert [name for name in fields if f"`KOTATSU_{name.upper()}`" not in text] == []


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "KOTATSU_AUTH_URL is not set"),
        (
            {"KOTATSU_VOICE_ANONYMOUS": "true", "KOTATSU_GEMINI_API_KEY": "key"},
            "KOTATSU_AUTH_URL is not set; KOTATSU_GEMINI_API_KEY needs it",
        ),
        (
            {"KOTATSU_VOICE_ANONYMOUS": "true", "KOTATSU_VOICE_ENGINE": "voicevox-engine"},
            "KOTATSU_VOICEVOX_ENGINE_URL not set",
        ),
        (
            {"KOTATSU_VOICE_ANONYMOUS": "true", "KOTATSU_VOICE_ENGINE": "voicevox"},
            "KOTATSU_VOICEVOX_ONNXRUNTIME, KOTATSU_VOICEVOX_DICT_DIR, KOTATSU_VOICEVOX_MODEL not",
        ),
        (
            {
                "KOTATSU_VOICE_ANONYMOUS": "true",
                "KOTATSU_VOICE_ENGINE": "voicevox",
                "KOTATSU_VOICEVOX_ONNXRUNTIME": "/no/lib.so",
                "KOTATSU_VOICEVOX_DICT_DIR": "/",
                "KOTATSU_VOICEVOX_MODEL": "/",
            },
            "KOTATSU_VOICEVOX_ONNXRUNTIME is wrong: /no/lib.so does not exist",
        ),
    ],
)
def test_a_wrong_environment_stops_the_start_with_one_line(
    run: Run, environ: dict[str, str], said: str
) -> None:
    code, _, err = run(**environ)
    assert code == 2
    (line,) = err.splitlines()
    assert said in line


FIRST_SOUND = """
import asyncio, sys
from kotatsu_voice.app import create_app
from kotatsu_voice.settings import VoiceSettings

async def main():
    app = create_app(VoiceSettings(voice_anonymous=True))
    body = asyncio.Queue()
    body.put_nowait({"type": "http.request", "body": b'{"text": "\\u3042"}'})
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/voice", "query_string": b"stream=1"}
    sent = []
    async def send(message):
        sent.append(message)
    async with app.router.lifespan_context(app):
        await app(scope | {"headers": headers, "http_version": "1.1"}, body.get, send)
    print(sent[0]["status"], len(sent[1]["body"]) > 0)
    rare = "pyopenjtalk._unihan_readings_map"
    print(*({"anyio._backends._asyncio", "httpx", rare} & sys.modules.keys()))

asyncio.run(main())
"""


@pytest.mark.slow
def test_nothing_is_imported_that_the_first_sound_does_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_SOUND], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["200 True", ""]


HANGING = """
from threading import Event
from kotatsu_voice import __main__, speaker
from kotatsu_voice.engines.openjtalk import OpenJTalkEngine

spoken = OpenJTalkEngine._speak
speaker.PIECE_SECONDS = 5.0
OpenJTalkEngine._speak = lambda self, text: (
    Event().wait() if "ていし" in text else spoken(self, text)
)
__main__.main()
"""


class Voice:
    def __init__(self, *program: str) -> None:
        environ = {"KOTATSU_HOST": "127.0.0.1", "KOTATSU_PORT": "0"}
        environ |= {"KOTATSU_VOICE_ANONYMOUS": "true", "PATH": os.environ["PATH"]}
        environ |= {k: v for k, v in os.environ.items() if k == "PYTHONPYCACHEPREFIX"}
        self.child = subprocess.Popen(
            [sys.executable, *(program or ("-m", "kotatsu_voice"))],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stderr
        self.lines: list[str] = []
        for line in self.child.stderr:
            self.lines.append(line)
            if "running on http://" in line:
                self.url = "http://127.0.0.1:" + line.split("http://127.0.0.1:")[1].split()[0]
            if "the voice has spoken" in line:
                return
        raise AssertionError("".join(self.lines))

    def ask(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            read: bytes = answer.read()
            return read


@pytest.fixture(scope="module")
def voice() -> Iterator[Voice]:
    voice = Voice()
    yield voice
    if voice.child.poll() is None:
        voice.child.kill()
    voice.child.communicate()


@pytest.mark.slow
def test_it_speaks_japanese_offline(voice: Voice) -> None:
    assert voice.ask("/readyz") == b"ok"
    assert Heard(voice.ask("/voice", {"text": "こんにちは、あおいとりです。"})).seconds > 1


@pytest.mark.slow
def test_its_log_is_json_and_libraries_print_nothing(voice: Voice) -> None:
    assert all(isinstance(json.loads(line), dict) for line in voice.lines)


@pytest.mark.slow
def test_a_library_that_complains_does_not_break_the_log(voice: Voice) -> None:
    with pytest.raises(urllib.error.HTTPError, match="422") as refused:
        voice.ask("/voice", {"text": "한국어"})
    refused.value.close()
    assert voice.child.stderr
    lines = []
    for line in voice.child.stderr:
        lines.append(json.loads(line))
        if "No phoneme" in lines[-1]["message"]:
            break
    assert lines[-1]["logger"] == "kotatsu.voice.library"


@pytest.mark.slow
def test_its_metrics_name_what_the_operator_scrapes(voice: Voice) -> None:
    scraped = voice.ask("/metrics").decode()
    assert "kotatsu_requests_in_flight 0.0" in scraped
    assert "kotatsu_last_request_timestamp_seconds" in scraped
    assert 'kotatsu_voice_synthesis_seconds_count{engine="openjtalk"}' in scraped


@pytest.mark.slow
def test_sigterm_ends_it_well(voice: Voice) -> None:
    voice.child.send_signal(signal.SIGTERM)
    # Sooner than KOTATSU_SHUTDOWN_TIMEOUT: there is nothing to wait for.
    out, _ = voice.child.communicate(timeout=20)
    assert voice.child.returncode == 0
    assert out == ""


@pytest.mark.slow
def test_sigterm_ends_it_while_a_thread_hangs() -> None:
    """The interpreter waits for such a thread, and the kubelet would kill it a minute later."""
    voice = Voice("-c", HANGING)
    try:
        with pytest.raises(urllib.error.HTTPError, match="503") as failed:
            voice.ask("/voice", {"text": "ていし。"})
        failed.value.close()
        voice.child.send_signal(signal.SIGTERM)
        voice.child.communicate(timeout=20)
        assert voice.child.returncode == 0
    finally:
        if voice.child.poll() is None:
            voice.child.kill()
            voice.child.communicate()
