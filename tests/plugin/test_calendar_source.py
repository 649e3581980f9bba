"""Reading a calendar from a URL: bounded, and without a word about the URL itself."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rows import each

from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.source import load, shown
from kotatsu_operator.core.calendar.occasions import MOST_BYTES

SECRET = "/private-0123456789/basic.ics"


_ENDED = threading.Event()
"""The tests are over."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        where = self.path.partition("?")[0]
        if where == SECRET:
            self._answer(200, b"BEGIN:VCALENDAR")
        elif where.startswith("/to/"):
            self._answer(302, b"", location=where.removeprefix("/to/") or "/")
        elif where == "/loop":
            self._answer(302, b"", location=f"/loop?{self.path.count('x') * 'x'}x")
        elif where == "/file":
            self._answer(302, b"", location="file:///etc/passwd")
        elif where in ("/drips", "/continues"):
            self._never_ends(b"HTTP/1.1 200 OK\r\n\r\n" if where == "/drips" else b"")
        elif where == "/endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * (MOST_BYTES + 5_000_000))
        else:
            self._answer(int(where.strip("/") or 404), b"")

    def _answer(self, code: int, body: bytes, location: str = "") -> None:
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _never_ends(self, head: bytes) -> None:
        """A body of bytes one by one after a head; without one, heads that announce a head."""
        self.wfile.write(head)
        with suppress(OSError):
            while not _ENDED.wait(0.01):
                self.wfile.write(b"x" if head else b"HTTP/1.1 100 Continue\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients leave in the middle of an answer: that is what is tested."""


@contextmanager
def serving() -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        _ENDED.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as url:
        yield url


def refused(url: str) -> str:
    with pytest.raises(DemoModeError) as error:
        load(url, io.StringIO())
    return str(error.value)


def test_a_calendar_is_read_also_behind_a_redirect(server: str):
    assert load(server + SECRET, io.StringIO()) == b"BEGIN:VCALENDAR"
    assert load(f"{server}/to/{SECRET}", io.StringIO()) == b"BEGIN:VCALENDAR"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/401", "needs a login"),
        ("/404", "is not there"),
        ("/503", "try again later"),
        ("/loop?", "127.0.0.1"),
        ("/file", "127.0.0.1"),
    ],
)
def test_an_answer_without_a_calendar_is_one_sentence(server: str, path: str, words: str):
    assert words in refused(server + path)


def test_an_answer_without_an_end_is_read_to_the_limit_only(server: str):
    assert MOST_BYTES < len(load(f"{server}/endless", io.StringIO())) <= MOST_BYTES + 2**16


@pytest.mark.parametrize("path", ["/drips", "/continues"])
def test_an_answer_that_never_ends_is_given_up_after_a_time(server: str, path: str):
    with pytest.raises(DemoModeError, match=r"127\.0\.0\.1 does not answer in time"):
        load(server + path, io.StringIO(), patience=0.3)


@each(
    "url",
    [
        "https://user:hunter2@calendar.example/hunter2.ics",
        "https://calendar.example:hunter2/",
        "http://127.0.0.1:1/hunter2?key=hunter2",
        "https://[hunter2/x",
    ],
)
def test_no_error_has_the_secret_of_a_url(url: str):
    assert "hunter2" not in refused(url)
    assert url.startswith("https://[") or "hunter2" not in shown(url)


def test_a_missing_file_is_one_sentence():
    assert (
        refused("nowhere.ics") == "nowhere.ics: No such file or directory; give a file, a URL, or -"
    )
