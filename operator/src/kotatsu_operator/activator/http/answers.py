"""The few answers that the activator gives itself, as HTTP/1 bytes."""

import json

PROBE_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\n\r\n# asleep\n"
)
"""To a probe or a scrape: the pool is healthy, it just sleeps. (503 would take a load balancer's
backend out, and to Prometheus this is a page without metrics, not a target that is down.)"""


def budget_spent(pool: str, limit: str) -> str:
    """Why a pool is not woken: its limit (in words) is reached."""
    return (
        f"the budget of the WarmPool {pool} is spent ({limit}): it sleeps until the period ends or "
        "spec.budget.limit is raised"
    )


def refusal(detail: str, retry_after: int) -> bytes:
    """503 with Retry-After (seconds) and a problem document that says why."""
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
