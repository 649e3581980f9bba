"""The activator's own answers, as HTTP/1 bytes."""

import json


def response(status: str, body: bytes, *headers: str) -> bytes:
    """A whole HTTP/1 response, after which the connection ends."""
    lines = (
        f"HTTP/1.1 {status}",
        *headers,
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


PROBE_OK = response("200 OK", b"# asleep\n", "Content-Type: text/plain; charset=utf-8")
"""The answer to a probe or scrape of a sleeping pool, which is healthy. (With a 503, a load
balancer would remove the backend. To Prometheus this is a page without metrics, not a target that
is down.)"""


def budget_spent(pool: str, limit: str) -> str:
    """Why a pool is not woken: its limit, such as `3000 JPY a month`, is reached."""
    return (
        f"the budget of the WarmPool {pool} is spent ({limit}): it sleeps until the period ends or "
        "spec.budget.limit is raised"
    )


def refusal(detail: str, retry_after: int) -> bytes:
    """A 503 with Retry-After (seconds) and a problem document with the reason."""
    body = json.dumps(
        {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail}
    ).encode()
    return response(
        "503 Service Unavailable",
        body,
        "Content-Type: application/problem+json",
        f"Retry-After: {retry_after}",
    )
