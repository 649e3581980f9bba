"""The receivers of notifications, from a mounted Secret: docs/how-to/notifications.md has its form.

URLs and headers are secrets: no error message, log line or repr contains them. What a receiver gets
is a CloudEvent, or JSON as Slack's incoming webhooks accept it. Of a response only the status is
read.
"""

import asyncio
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from kotatsu_operator.core.formats import format_duration, stamp
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.features.notices.notices import NOTICE_REASONS, Notice
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.runtime.request import request

LARGEST = 64 * 1024
"""Bytes of the file at most."""

MOST = 16
"""Receivers at most. Each has a queue, a connection and series of metrics."""


class Format(StrEnum):
    """The form of a notification."""

    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_address = False
    if not has_address or parts.scheme not in ("http", "https") or not url.isprintable():
        raise ValueError(
            "is not an http or https address; write it like https://hooks.example.com/kotatsu"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user name or password; use headers for a login")
    return url


def _known(event: str) -> str:
    if event not in NOTICE_REASONS:
        raise ValueError(f"is not one of {', '.join(NOTICE_REASONS)}")
    return event


def _free(header: str) -> str:
    if header.lower() in ("host", "content-length", "content-type", "transfer-encoding"):
        raise ValueError(f"{header} is set by the operator; remove it")
    return header


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Receiver(_Fields):
    """Where notifications are sent, and which."""

    name: Annotated[str, Field(pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    url: Annotated[str, Field(max_length=2048, repr=False), AfterValidator(_address)]
    format: Format = Format.CLOUDEVENTS
    events: frozenset[Annotated[str, AfterValidator(_known)]] = frozenset(NOTICE_REASONS)
    namespaces: frozenset[str] = frozenset()
    """Empty: all."""
    headers: dict[
        Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$"), AfterValidator(_free)],
        Annotated[str, Field(pattern="^[ -~]*$", max_length=4096)],
    ] = Field(default_factory=dict, max_length=16, repr=False)

    def wants(self, namespace: str, reason: str) -> bool:
        """Whether this receiver is told about this event."""
        return reason in self.events and (not self.namespaces or namespace in self.namespaces)


def _named_once(receivers: list[Receiver]) -> list[Receiver]:
    names = [receiver.name for receiver in receivers]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is the name of more than one")
    return receivers


class _File(_Fields):
    receivers: Annotated[list[Receiver], Field(max_length=MOST), AfterValidator(_named_once)]


class ReceiversError(ValueError):
    """The file is invalid. The message says what to change, without any value of a secret."""


def parse_receivers(raw: bytes) -> list[Receiver]:
    """Read the file. Raises ReceiversError."""
    if len(raw) > LARGEST:
        raise ReceiversError(f"it is larger than {LARGEST // 1024} KiB")
    try:
        return _File.model_validate(_loaded(raw)).receivers
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ReceiversError(_sentence(problem)) from None


def _loaded(raw: bytes) -> Any:
    import yaml  # slow to load, and only needed with receivers

    try:
        return yaml.load(raw.decode(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise ReceiversError(f"it is not YAML{where}") from None
    except (ValueError, RecursionError, yaml.YAMLError):
        raise ReceiversError("it is not YAML in UTF-8") from None


def _sentence(problem: ErrorDetails) -> str:
    """Where and why, without names that the file should not have: they may be a secret too."""
    where, reason = problem["loc"], problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type":
        reason = "is not an object with fields"
    elif problem["type"] == "extra_forbidden":
        where, reason = (
            where[:-1],
            "has an unknown field; see docs/how-to/notifications.md",
        )
    elif where[-1:] == ("[key]",):
        where = where[:-2]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return f"{path.removeprefix('.') or 'the file'}: {reason}"


# --- what they get ---

TYPE = "dev.kotatsu.warmpool."
"""The type of a CloudEvent is this and the reason."""

Message = tuple[Mapping[str, str], bytes]
"""Headers and body."""

LATE = timedelta(minutes=1)
"""From this age on, a message for people says how old it is. A CloudEvent always has its time."""


def message(form: Format, key: Key, notice: Notice, now: datetime) -> Message:
    """The request for one notice of the pool `key`."""
    match form:
        case Format.CLOUDEVENTS:
            return _cloudevent(key, notice)
        case Format.SLACK:
            return _slack(key, notice, now)


def _cloudevent(key: Key, notice: Notice) -> Message:
    """A CloudEvent in structured mode (CloudEvents 1.0.2, HTTP binding and JSON format)."""
    namespace, name = key
    event = {
        "specversion": "1.0",
        "id": notice.id,
        "source": f"/apis/{API_VERSION}/namespaces/{namespace}/warmpools/{name}",
        "type": TYPE + notice.reason,
        "subject": f"{namespace}/{name}",
        "time": stamp(notice.at),
        "datacontenttype": "application/json",
        "data": {
            "namespace": namespace,
            "name": name,
            "reason": notice.reason,
            "message": notice.message,
            "severity": "warning" if notice.warning else "normal",
        },
    }
    return {"Content-Type": "application/cloudevents+json"}, _json(event)


def _slack(key: Key, notice: Notice, now: datetime) -> Message:
    mark = ":warning: " if notice.warning else ""
    age = now - notice.at
    late = f" ({format_duration(age)} ago)" if age >= LATE else ""
    text = f"{mark}*{key[0]}/{key[1]}* {notice.reason}: {_escaped(notice.message)}{late}"
    return {"Content-Type": "application/json; charset=utf-8"}, _json({"text": text})


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _escaped(text: str) -> str:
    """Text without Slack's control characters: a message must not mention a channel or a link."""
    return html.escape(text, quote=False)


# --- an attempt to deliver it ---

TIMEOUT = 10.0
"""Seconds for one attempt."""
CONNECT = 5.0
"""Seconds for the connection."""
LONGEST_PAUSE = 300.0
"""Seconds that a Retry-After may ask for."""

_AGAIN = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed."""


@dataclass(frozen=True)
class Posted:
    """The result of one attempt, in words without the address."""

    problem: str = ""
    """Empty if it was delivered."""
    is_final: bool = True
    """Whether another attempt cannot help."""
    pause: float = 0.0
    """The seconds until the next attempt that the receiver asks for."""


async def post(receiver: Receiver, headers: Mapping[str, str], body: bytes) -> Posted:
    """Send one notification. Raises nothing but cancellation.

    Redirects are not followed: the address is a secret that another host must not get. Messages of
    errors are not used, because some contain the address.
    """
    sent = {**headers, **{name: value.strip() for name, value in receiver.headers.items()}}
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            request("POST", receiver.url, sent, body, connect=CONNECT) as response,
        ):
            pass  # its body stays unread: one that never ends costs nothing
    except (TimeoutError, httpx2.TimeoutException):
        return Posted(f"it does not respond within {TIMEOUT:g} s", is_final=False)
    except (httpx2.InvalidURL, httpx2.LocalProtocolError, ValueError):
        return Posted("its address cannot be used")
    except (httpx2.ConnectError, httpx2.ProxyError):
        return Posted("it cannot be connected to", is_final=False)
    except (httpx2.HTTPError, OSError) as error:
        return Posted(f"the connection failed ({type(error).__name__})", is_final=False)
    status = response.status_code
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return Posted()
    if status < HTTPStatus.BAD_REQUEST:
        return Posted(f"it answers {status}, and redirects are not followed")
    is_final = status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _AGAIN
    return Posted(f"it answers {status}", is_final, _pause(response.headers.get("retry-after")))


def _pause(text: str | None) -> float:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 9
    return min(float(text or 0), LONGEST_PAUSE) if is_number else 0.0
