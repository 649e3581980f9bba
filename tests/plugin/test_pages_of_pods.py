"""A page of a pod is read through the API server in bounds, and the session goes on afterwards."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kotatsu_demo_mode.api import Api


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"x" * 100_000 if "/proxy" in self.path else b"{}"
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    """A session with a server that sends long pages."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    with Api() as made:
        made._connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
        yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_of_a_long_page_only_its_beginning_is_read(api: Api):
    assert api.page("/api/v1/namespaces/demo/pods/web-1:80/proxy/metrics", 10) == (200, "x" * 10)
    assert api.get("/version") == {}


def test_the_status_of_a_pod_is_no_error_of_the_api(api: Api):
    status, text = api.page("/api/v1/namespaces/demo/pods/web-1:80/proxy/missing", 200_000)
    assert (status, len(text)) == (404, 100_000)
    assert api.get("/version") == {}
