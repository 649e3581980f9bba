"""The number of requests of a pool, from a Prometheus."""

from __future__ import annotations

import http.client
import json
import re
from argparse import Namespace
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from kotatsu_operator.core.formats import amount

from .errors import DemoModeError

if TYPE_CHECKING:
    from .api import Api
    from .pools import Pool

_TIMEOUT = 15.0
"""Seconds for each step of the exchange."""

_MOST = 1_000_000
"""Bytes of an answer."""

_SERVICE = re.compile(r"^([a-z0-9-]{1,63})/([a-z0-9-]{1,63})(?::([a-z0-9-]{1,15}))?")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,200}")


def requests_of(
    options: Namespace, api: Api, pool: Pool, begin: datetime, end: datetime
) -> Decimal:
    """The requests that the pool's pods answered in [begin, end). Raises DemoModeError.

    Prometheus extrapolates an increase, so the number is rounded and is not an audit.
    """
    metric = options.requests_metric
    if not _METRIC.fullmatch(metric):
        raise DemoModeError(f"--requests-metric: {metric!r} is not the name of a metric")
    seconds = max(round((end - begin).total_seconds()), 1)
    pods = f"{re.escape(pool.spec.target.name)}-[a-z0-9-]+".replace("\\", "\\\\")
    labels = f'namespace="{pool.namespace}",pod=~"{pods}"'
    asked = f"sum(increase({metric}{{{labels}}}[{seconds}s]))"
    answer = _asked(options.prometheus, api, {"query": asked, "time": f"{end.timestamp():.3f}"})
    try:
        result = json.loads(answer)["data"]["result"]
        found = amount(result[0]["value"][1]) if result else Decimal(0)
    except (ValueError, LookupError, TypeError, RecursionError):
        found = None
    if found is None:
        raise DemoModeError(
            "--prometheus: the answer is not that of a Prometheus; check the address"
        )
    return found.to_integral_value()


def _asked(where: str, api: Api, query: Mapping[str, str]) -> str:
    path = "/api/v1/query"
    service = _SERVICE.fullmatch(where)
    if service is not None:
        namespace, name, port = service.groups()
        to = f"{name}:{port}" if port else name
        return api.text(f"/api/v1/namespaces/{namespace}/services/{to}/proxy{path}", **query)
    try:
        url = urlsplit(where)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kinds[url.scheme](url.hostname or "", url.port, timeout=_TIMEOUT)
    except (KeyError, ValueError):
        raise DemoModeError(
            "--prometheus: write a URL like http://localhost:9090, or a Service like "
            "monitoring/prometheus:9090"
        ) from None
    try:
        target = f"{url.path.rstrip('/')}{path}?{urlencode(query)}"
        connection.request("GET", target, headers={"Accept": "application/json"})
        response = connection.getresponse()
        text: str = response.read(_MOST).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        # The URL itself may contain a password.
        raise DemoModeError(f"--prometheus: {url.hostname} does not answer ({error})") from None
    finally:
        connection.close()
    if response.status != 200:
        raise DemoModeError(
            f"--prometheus: {url.hostname} answers with status {response.status}; check the address"
        )
    return text
