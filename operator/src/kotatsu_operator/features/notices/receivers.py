"""The receivers of notifications, from a mounted Secret: docs/notifications.md has its form.

URLs and headers are secrets: no error message, log line or repr contains them.
"""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from kotatsu_operator.features.notices.notices import NOTICE_REASONS

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
        where, reason = where[:-1], "has a field that does not exist; docs/notifications.md has all"
    elif where[-1:] == ("[key]",):
        where = where[:-2]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return f"{path.removeprefix('.') or 'the file'}: {reason}"
