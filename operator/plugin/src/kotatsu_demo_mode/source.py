"""Reads a calendar: a file, standard input, or a URL.

A URL may be a secret: only its host is ever printed.
"""

from http.client import HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TextIO
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from kotatsu_operator.core.calendar.occasions import MOST_BYTES

from .errors import DemoModeError

_TIMEOUT = 10.0
"""Seconds without a byte."""
PATIENCE = 30.0
"""Seconds for an answer, with its redirects."""
_PIECE = 64 * 1024


def is_url(source: str) -> bool:
    """Whether a source is an address, not a file."""
    return source.partition("://")[0].lower() in ("http", "https", "webcal")


def shown(source: str) -> str:
    """A source in words. Of a URL only the host: its path may be a secret."""
    if source == "-":
        return "standard input"
    return f"the calendar at {urlsplit(source).hostname}" if is_url(source) else source


def load(source: str, stdin: TextIO, patience: float = PATIENCE) -> bytes:
    """The bytes of a calendar, at most one piece more than it may have. Raises DemoModeError."""
    if is_url(source):
        return _fetch(source, patience)
    try:
        if source == "-":
            raw = getattr(stdin, "buffer", None)
            return raw.read(MOST_BYTES + 1) if raw else stdin.read(MOST_BYTES + 1).encode()
        with Path(source).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DemoModeError(f"{source}: {error.strerror}; give a file, a URL, or -") from None


class _Redirects(HTTPRedirectHandler):
    """At most five, to http or https, and from https only to https."""

    max_redirections = 5
    max_repeats = 2

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and not (scheme == "http" and req.type == "http"):
            fp.close()
            raise URLError("it redirects to a URL that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, patience: float) -> bytes:
    try:
        parts = urlsplit(url)
        host, has_password = parts.hostname or "", parts.username is not None
        parts.port  # noqa: B018  (raises ValueError if it is not a number)
    except ValueError:
        raise DemoModeError(
            "the URL is invalid; write it like https://calendar.example/a.ics"
        ) from None
    if has_password or not host:
        raise DemoModeError(
            "the URL has a user or no host; download the file, and import it with `-`"
        )
    try:
        return _within(patience, build_opener(_Redirects), _request(parts))
    except HTTPError as error:
        error.close()
        raise DemoModeError(f"{host} answers {error.code}; {_remedy(error.code)}") from None
    except TimeoutError:
        raise DemoModeError(f"{host} does not answer in time; try again later") from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or type(error).__name__
        said = why if isinstance(why, str) else getattr(why, "strerror", None) or type(why).__name__
        raise DemoModeError(
            f"{host} cannot be read ({said}); check the URL and the network"
        ) from None


def _request(parts: SplitResult) -> Request:
    scheme = "https" if parts.scheme.lower() == "webcal" else parts.scheme.lower()
    address = parts._replace(scheme=scheme, fragment="").geturl()
    headers = {"Accept": "text/calendar, */*;q=0.1", "User-Agent": "kubectl-demo_mode"}
    return Request(address, headers=headers)  # noqa: S310  (the scheme is http or https)


def _within(patience: float, opener: OpenerDirector, request: Request) -> bytes:
    """The answer, read by a thread: urllib has no limit for heads that never end."""
    found = SimpleQueue[bytes | Exception]()

    def read() -> None:
        try:
            found.put(_read(opener, request))
        except Exception as error:
            found.put(error)

    Thread(target=read, daemon=True).start()
    try:
        answer = found.get(timeout=patience)
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _read(opener: OpenerDirector, request: Request) -> bytes:
    with opener.open(request, timeout=_TIMEOUT) as answer:
        found = bytearray()
        while len(found) <= MOST_BYTES and (piece := answer.read1(_PIECE)):
            found += piece
    return bytes(found)


def _remedy(code: int) -> str:
    if code in (401, 403):
        return "it needs a login; use the calendar's secret address, or download the file"
    if code in (404, 410):
        return "the calendar is not there; check the URL"
    return "try again later"
