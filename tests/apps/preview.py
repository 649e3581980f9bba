"""Two parts of a preview, of which each ends if what it needs does not answer when it starts.

`api` keeps rows in PostgreSQL; `web` passes its requests on to api.
"""

import signal
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import psycopg_pool


def api() -> Callable[[str], None]:
    """Store a row. Ends unless PostgreSQL accepts connections."""
    address = "host=postgres user=app dbname=postgres"
    pool = psycopg_pool.ConnectionPool(address, min_size=1, max_size=4, open=True)
    pool.wait(timeout=3)
    with pool.connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (name text PRIMARY KEY)")

    def store(name: str) -> None:
        with pool.connection() as connection:
            connection.execute("INSERT INTO orders VALUES (%s)", [name])

    return store


def web() -> Callable[[str], None]:
    """Pass the row on. Ends unless api answers."""
    httpx.get("http://api/", timeout=3).raise_for_status()

    def pass_on(name: str) -> None:
        httpx.post("http://api/", content=name, timeout=60).raise_for_status()

    return pass_on


class Handler(BaseHTTPRequestHandler):
    act: Callable[[str], None]

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        type(self).act(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer()

    def answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


# The first process of a container ignores the signal unless it has a handler.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Handler.act = staticmethod({"api": api, "web": web}[sys.argv[1]]())
ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
