"""The receivers of notifications, from a mounted Secret: docs/notifications.md has its form.

URLs and headers are secrets: no error message, log line or repr contains them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from kotatsu_operator.features.notices.notices import NOTICE_REASONS

LARGEST = 64 * 1024
"""Bytes of the file at most."""

MOST = 16
"""Receivers at most. Each has a queue, a connection and series of metrics."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_FIELDS = ("name", "url", "format", "events", "namespaces", "headers")


class Format(StrEnum):
    """The form of a notification."""

    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"


@dataclass(frozen=True)
class Receiver:
    """Where notifications are sent, and which."""

    name: str
    url: str = field(repr=False)
    format: Format = Format.CLOUDEVENTS
    events: frozenset[str] = frozenset(NOTICE_REASONS)
    namespaces: frozenset[str] = frozenset()
    """Empty: all."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def wants(self, namespace: str, reason: str) -> bool:
        """Whether this receiver is told about this event."""
        return reason in self.events and (not self.namespaces or namespace in self.namespaces)


class ReceiversError(ValueError):
    """The file is invalid. The message says what to change, without any value of a secret."""


def parse_receivers(raw: bytes) -> tuple[Receiver, ...]:
    """Read the file. Raises ReceiversError."""
    if len(raw) > LARGEST:
        raise ReceiversError(f"it is larger than {LARGEST // 1024} KiB")
    given = _loaded(raw)
    if not isinstance(given, Mapping) or set(given) != {"receivers"}:
        raise ReceiversError("it is not a list of `receivers:` and nothing else")
    listed = given["receivers"]
    if not isinstance(listed, list) or len(listed) > MOST:
        raise ReceiversError(f"receivers: is not a list of at most {MOST} receivers")
    found: dict[str, Receiver] = {}
    for i, one in enumerate(listed):
        receiver = _receiver(one, f"receivers[{i}]")
        if receiver.name in found:
            raise ReceiversError(f"receivers[{i}].name: {receiver.name} is the name of another one")
        found[receiver.name] = receiver
    return tuple(found.values())


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


def _receiver(given: Any, where: str) -> Receiver:
    if not isinstance(given, Mapping):
        raise ReceiversError(f"{where}: is not an object with name and url")
    if set(given) - set(_FIELDS):
        raise ReceiversError(f"{where}: has a field other than {', '.join(_FIELDS)}")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ReceiversError(
            f"{where}.name: write lower-case letters, digits and -, like team-chat"
        )
    form = given.get("format", Format.CLOUDEVENTS)
    if form not in tuple(Format):
        raise ReceiversError(f"{where}.format: is not one of {', '.join(Format)}")
    events = frozenset(_words(given.get("events", NOTICE_REASONS), f"{where}.events"))
    if events - set(NOTICE_REASONS):
        raise ReceiversError(f"{where}.events: has an event other than {', '.join(NOTICE_REASONS)}")
    return Receiver(
        name,
        _url(given.get("url"), f"{where}.url"),
        Format(form),
        events,
        frozenset(_words(given.get("namespaces", ()), f"{where}.namespaces")),
        dict(_headers(given.get("headers", {}), f"{where}.headers")),
    )


def _url(given: Any, where: str) -> str:
    remedy = "write it like https://hooks.example.com/kotatsu"
    if not isinstance(given, str) or not 0 < len(given) <= 2048 or not given.isprintable():
        raise ReceiversError(f"{where}: is not an address of at most 2048 characters; {remedy}")
    try:
        parts = urlsplit(given)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        raise ReceiversError(f"{where}: is not an address; {remedy}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        raise ReceiversError(f"{where}: is not an http or https address; {remedy}")
    if parts.username is not None or parts.password is not None:
        raise ReceiversError(f"{where}: has a user name or password; use headers for a login")
    return given


def _words(given: Any, where: str) -> list[str]:
    is_words = isinstance(given, list | tuple) and all(isinstance(word, str) for word in given)
    if not is_words:
        raise ReceiversError(f"{where}: is not a list of words")
    return list(given)


def _headers(given: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(given, Mapping) or len(given) > 16:
        raise ReceiversError(f"{where}: is not an object of at most 16 headers")
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise ReceiversError(f"{where}: has a name with other characters than letters and -")
        if name.lower() in ("host", "content-length", "content-type", "transfer-encoding"):
            raise ReceiversError(f"{where}.{name}: is set by the operator; remove it")
        is_value = isinstance(value, str) and len(value) <= 4096 and value.isprintable()
        if not is_value or not value.isascii():
            raise ReceiversError(f"{where}.{name}: is not printable text in ASCII; quote it")
        yield name, value
