"""Settings come from the environment, once, in a service's `__main__`.

A settings class is an ordinary object: building one (in a test, in `make local`) never looks at the
environment. Only `load` does, and it turns what is wrong into one line for each variable.
"""

import os
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

PREFIX = "KOTATSU_"
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]+)?|https?://\[[0-9a-f:]+\](?::[0-9]+)?")
EXIT_USAGE = 2

S = TypeVar("S", bound="ServiceSettings")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Several words in one variable, comma separated."""


class ServiceSettings(BaseModel):
    """What every service takes. Durations are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    host: str = Field("0.0.0.0", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe message to log"
    )
    cors_origins: CommaSeparated = Field(
        ("*",), description="browser origins that may call, comma separated; * means any"
    )
    shutdown_timeout: int = Field(
        30, ge=1, le=3600, description="seconds that requests in flight get after SIGTERM"
    )
    keep_alive: int = Field(
        75,
        ge=1,
        le=3600,
        description="seconds an idle connection is kept; longer than the proxy in front keeps it",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                # It would match no browser's Origin, which is compared letter by letter.
                raise ValueError("write an origin like https://pet.example, without a path")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return PREFIX + field.upper()


def load(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read `cls` from the environment; an empty variable counts as not set.

    What is missing or wrong is printed to stderr, one line for each variable, never with its value
    (it may be a secret or hold one). Then the process ends with status 2.
    """
    source = os.environ if environ is None else environ
    fields = cls.model_fields
    values: dict[str, Any] = {
        name: source[variable(name)] for name in fields if source.get(variable(name))
    }
    try:
        return cls(**values)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            print(_sentence(problem, values), file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_USAGE) from None


def _sentence(problem: ErrorDetails, values: Mapping[str, str]) -> str:
    reason = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:  # a rule about several variables names them itself
        return reason
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"{variable(name)} is not set"
    if name == "port" and values.get("port", "").startswith("tcp://"):
        reason += " (set by a Kubernetes Service link: use enableServiceLinks: false)"
    return f"{variable(name)} is wrong: {reason}"


def command(cls: type[S], program: str, summary: str, argv: list[str] | None = None) -> S:
    """Answer `-h` with every variable explained, else load the settings."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        return load(cls)
    if arguments[0] in ("-h", "--help"):
        print(usage(cls, program, summary))  # noqa: T201
        raise SystemExit(0)
    return _refuse(program)


def _refuse(program: str) -> NoReturn:
    print(f"{program} takes no arguments; {program} -h lists its variables", file=sys.stderr)  # noqa: T201
    raise SystemExit(EXIT_USAGE)


def usage(cls: type[ServiceSettings], program: str, summary: str) -> str:
    """The help text: one entry for each environment variable."""
    lines = [f"usage: {program} [-h]", "", summary, "", "Environment:"]
    for name, field in cls.model_fields.items():
        lines += [f"  {variable(name)}", f"      {field.description or ''} ({_default(field)})"]
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "required"
    if default is None or default == "":
        return "not set by default"
    if isinstance(default, SecretStr):
        return "secret"
    if isinstance(default, tuple):
        default = ",".join(default)
    if isinstance(default, bool):
        default = str(default).lower()
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    one_of = f"one of {', '.join(map(str, choices))}; " if choices else ""
    return f"{one_of}default {default}"
