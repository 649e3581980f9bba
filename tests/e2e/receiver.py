"""A receiver of notifications that prints each body on a line. Runs in a pod or on this machine."""

from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(body.decode(), flush=True)  # noqa: T201
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    HTTPServer(("", 8080), Receiver).serve_forever()
