"""One attempt to deliver a notification. Only the status of the response is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from kotatsu_operator.controller.notify.receivers import Receiver

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
