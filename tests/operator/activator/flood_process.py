"""Clients that mean no good, in a process of their own: as many connections and bytes as it can.

It connects, prints how many connections it has, and then sends (and drops what it is answered)
until its input ends.

    python tests/operator/activator/flood_process.py 8080 120 pipelined
"""

import argparse
import contextlib
import os
import resource
import select
import socket
import sys

_TINY = b"GET / HTTP/1.1\r\n\r\n"
_ONE = b"GET / HTTP/1.1\r\nHost: voice\r\n\r\n"
_READ = 256_000

KINDS = {
    # Tiny requests, as many as one read of the activator takes.
    "pipelined": _TINY * (_READ // len(_TINY)),
    # As few as it still follows.
    "few": _ONE * 8,
    # A byte at a time, of requests without an end.
    "dripping": b"a",
    # One body without an end.
    "upload": bytes(_READ),
    # What is said once; then they wait, and some of them take no answer.
    "heads": b"",
    "bodies": b"",
    "unread": b"",
}
_BEGIN = {
    "dripping": b"GET / HTTP/1.1\r\nA: ",
    "upload": b"POST / HTTP/1.1\r\nContent-Length: 999999999999999\r\n\r\n",
    "heads": b"GET / HTTP/1.1\r\nA: " + b"a" * 65_000,
    "bodies": b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + bytes(2**17),
    "unread": b"GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n",
}


def _flood(port: int, clients: int, kind: str) -> None:
    waiting, data, left = select.epoll(), memoryview(KINDS[kind]), {}
    sockets = {}
    events = (kind != "unread" and select.EPOLLIN) | (bool(data) and select.EPOLLOUT)
    for _ in range(clients):
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionError:
            continue  # the activator is at its limit, and has reset it before this knew of it
        made.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            made.send(_BEGIN.get(kind, b""))
        waiting.register(made, events)
        sockets[made.fileno()], left[made.fileno()] = made, data
    waiting.register(sys.stdin, select.EPOLLIN)
    print(clients, flush=True)  # noqa: T201
    space = bytearray(_READ)
    while True:
        for number, event in waiting.poll():
            if number == sys.stdin.fileno():
                return
            one = sockets[number]
            try:
                with contextlib.suppress(BlockingIOError):
                    if event & select.EPOLLIN and not one.recv_into(space):
                        raise ConnectionError("closed")
                with contextlib.suppress(BlockingIOError):
                    if event & select.EPOLLOUT:
                        left[number] = left[number][one.send(left[number]) :] or data
            except ConnectionError:
                waiting.unregister(one)
                one.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int)
    parser.add_argument("kind", choices=KINDS)
    options = parser.parse_args()
    os.nice(5)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _flood(options.port, options.clients, options.kind)


if __name__ == "__main__":
    main()
