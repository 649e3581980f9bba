"""The activator's own answers, as HTTP/1 bytes."""

import json

PROBE_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\n\r\n# asleep\n"
)
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
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Retry-After: {retry_after}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
