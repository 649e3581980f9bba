"""Sends requests and measures them, with the standard library only.

It runs on this machine for `rehearse --url`, and otherwise in a pod, which gets the source of this
file. Each request has its own connection, so that the Service routes each one.
"""

import http.client
import json
import string
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit


def send(job: dict) -> tuple[float, int, str]:  # type: ignore[type-arg]
    """Send one request; returns its seconds, its status, or an error."""
    url = urlsplit(job["url"])
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=job["timeout"])
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    target = quote(target, safe=string.punctuation)
    body = job.get("data")
    begin = time.monotonic()
    try:
        headers = {"Connection": "close", **job.get("headers", {})}
        connection.request(job["method"], target, None if body is None else body.encode(), headers)
        response = connection.getresponse()
        response.read()
        return time.monotonic() - begin, response.status, ""
    except (OSError, ValueError, http.client.HTTPException) as error:
        return time.monotonic() - begin, 0, f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def run(job: dict) -> dict:  # type: ignore[type-arg]
    """Send `requests` requests, at most `concurrency` at once."""
    begin = time.monotonic()
    with ThreadPoolExecutor(job["concurrency"]) as pool:
        results = list(pool.map(lambda _: send(job), range(job["requests"])))
    return {"seconds": time.monotonic() - begin, "results": results}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))  # noqa: T201
