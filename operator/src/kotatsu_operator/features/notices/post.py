"""One notification: its body, and an attempt to deliver it.

The body is a CloudEvent, or JSON as Slack's incoming webhooks accept it. Of the response only the
status is read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

import aiohttp

from kotatsu_operator.core.formats import format_duration
from kotatsu_operator.features.notices.notices import Notice
from kotatsu_operator.features.notices.receivers import Format, Receiver
from kotatsu_operator.kube.objects import Key

TIMEOUT = 10.0
"""Seconds for one attempt."""
CONNECT = 5.0
"""Seconds for the connection."""
LONGEST_PAUSE = 300.0
"""Seconds that a Retry-After may ask for."""

_AGAIN = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed."""


@dataclass(frozen=True)
class Attempt:
    """The result of one attempt, in words without the address."""

    problem: str = ""
    """Empty if it was delivered."""
    is_final: bool = True
    """Whether another attempt cannot help."""
    pause: float = 0.0
    """The seconds until the next attempt that the receiver asks for."""


async def post(
    http: aiohttp.ClientSession, receiver: Receiver, headers: Mapping[str, str], body: bytes
) -> Attempt:
    """Send one notification. Raises nothing but cancellation.

    Redirects are not followed: the address is a secret that another host must not get. Messages of
    aiohttp's errors are not used, because some contain the address.
    """
    limit = aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=CONNECT)
    try:
        response = await http.post(
            receiver.url,
            data=body,
            headers={**headers, **receiver.headers},
            timeout=limit,
            allow_redirects=False,
        )
        response.close()  # unread: a body that never ends costs nothing
    except TimeoutError:
        return Attempt(f"it does not respond within {TIMEOUT:g} s", is_final=False)
    except (aiohttp.InvalidURL, UnicodeError):
        return Attempt("its address cannot be used")
    except aiohttp.ClientConnectorError:
        return Attempt("it cannot be connected to", is_final=False)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Attempt(f"the connection failed ({type(error).__name__})", is_final=False)
    status = response.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return Attempt()
    if status < HTTPStatus.BAD_REQUEST:
        return Attempt(f"it answers {status}, and redirects are not followed")
    is_final = status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _AGAIN
    return Attempt(f"it answers {status}", is_final, _pause(response.headers.get("Retry-After")))


def _pause(text: str | None) -> float:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 9
    return min(float(text or 0), LONGEST_PAUSE) if is_number else 0.0


TYPE = "dev.kotatsu.warmpool."
"""The type of a CloudEvent is this and the reason."""

Message = tuple[Mapping[str, str], bytes]
"""Headers and body."""


LATE = timedelta(minutes=1)
"""From this age on, a message for people says how old it is. A CloudEvent always has its time."""


def message(form: Format, key: Key, notice: Notice, now: datetime) -> Message:
    """The request for one notice of the pool `key`."""
    return _slack(key, notice, now) if form is Format.SLACK else _cloudevent(key, notice)


def _cloudevent(key: Key, notice: Notice) -> Message:
    # Only a receiver of CloudEvents pays for loading the library.
    from cloudevents.core.bindings.http import to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    namespace, name = key
    source = f"/apis/kotatsu.dev/v1beta1/namespaces/{namespace}/warmpools/{name}"
    event = CloudEvent(
        {
            "id": notice.id,
            "source": source,
            "type": TYPE + notice.reason,
            "subject": f"{namespace}/{name}",
            "time": notice.at,
            "datacontenttype": "application/json",
        },
        {
            "namespace": namespace,
            "name": name,
            "reason": notice.reason,
            "message": notice.message,
            "severity": "warning" if notice.warning else "normal",
        },
    )
    made = to_structured_event(event)
    return made.headers, made.body


def _slack(key: Key, notice: Notice, now: datetime) -> Message:
    mark = ":warning: " if notice.warning else ""
    age = now - notice.at
    late = f" ({format_duration(age)} ago)" if age >= LATE else ""
    text = f"{mark}*{key[0]}/{key[1]}* {notice.reason}: {_escaped(notice.message)}{late}"
    body = json.dumps({"text": text}, ensure_ascii=False)
    return {"Content-Type": "application/json; charset=utf-8"}, body.encode()


def _escaped(text: str) -> str:
    """Text without Slack's control characters: a message must not mention a channel or a link."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text
