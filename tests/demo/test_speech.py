"""The client inside the cluster: what it sends, and what its answers mean."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rows import each

from kotatsu_demo import speech
from kotatsu_demo.errors import DemoError

FRAME = b"\xff\xfb\x54\xc4" + bytes(188)
"""One frame of an mp3: 64 kbit/s at 48 kHz, 24 ms."""


def output(status: int, body: bytes) -> bytes:
    return json.dumps({"status": status, "seconds": 0.5}).encode() + b"\n" + body


def test_an_mp3_is_speech():
    answer = speech.answer_from(output(200, FRAME * 10), "http://voice/voice")
    assert (answer.seconds, answer.size) == (0.5, 1920)
    assert answer.speech == pytest.approx(0.24)


@each("status, body, said", [
    (503, b'{"detail": "full"}', "answered 503"),
    (0, b"refused", "answered nothing"),
    (200, b"{}", "no mp3"),
])  # fmt: skip
def test_anything_else_is_a_sentence(status: int, body: bytes, said: str):
    with pytest.raises(DemoError) as caught:
        speech.answer_from(output(status, body), "http://voice/voice")
    assert said in caught.value.report()


class Voice(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = sent == {"text": speech.TEXT}
        self.send_response(200 if good else 422)
        self.end_headers()
        self.wfile.write(FRAME * 10)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Voice)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run_script(url: str) -> bytes:
    command = [sys.executable, "-c", speech.SCRIPT, url, speech.TEXT]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_the_script_sends_the_text_and_hands_the_bytes_through(address: str):
    answer = speech.answer_from(run_script(f"{address}/voice"), address)
    assert answer.audio == FRAME * 10
    assert 0 < answer.seconds < 10


def test_the_script_reports_a_server_that_is_not_there():
    head, _, body = run_script("http://127.0.0.1:1/voice").partition(b"\n")
    assert json.loads(head)["status"] == 0
    assert b"refused" in body


def test_the_client_pod_is_fit_for_a_restricted_namespace_and_ends_by_itself():
    pod = speech.pod("demo", "localhost/kotatsu-voice:dev")
    spec = pod["spec"]
    assert spec["activeDeadlineSeconds"] <= 900
    assert spec["securityContext"]["runAsNonRoot"]
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
