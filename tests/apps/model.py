"""A model server: it loads for so many seconds, then answers each request with two events.

python3 model.py SECONDS
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Answer(BaseHTTPRequestHandler):
    """Server-sent events. The answer has no length: it ends with its connection."""

    def do_GET(self) -> None:
        """Send an event, and another one after the seconds that the request asks for."""
        query = parse_qs(urlsplit(self.path).query)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        time.sleep(float(query.get("seconds", ["0"])[0]))
        self.wfile.write(b"data: last\n\n")


time.sleep(float(sys.argv[1]))
ThreadingHTTPServer(("", 8080), Answer).serve_forever()
