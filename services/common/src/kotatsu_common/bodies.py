"""JSON bodies, read after the caller is known.

FastAPI reads and parses the body of a route's signature before it runs a dependency, so strangers
would decide what is parsed. A dependency runs in its turn: put this one behind the caller's.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError


def json_body(kind: Any) -> Callable[[Request], Awaitable[Any]]:
    """A dependency with the body as a `kind`, whatever Content-Type says; no body is null.

    The dependency raises RequestValidationError. Dart's http package sends text as text/plain
    unless told otherwise. Frameworks refuse that to protect sites with cookies from forged forms;
    here a token in a header decides.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    async def read(request: Request) -> Any:
        try:
            return adapter.validate_json(await request.body() or b"null")
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False, include_context=False)
            raise RequestValidationError(
                [{**one, "loc": ("body", *one["loc"])} for one in errors]
            ) from None

    return read


def documented_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The `openapi_extra=` of a route with such a body; one that is not required may be null."""
    schema: dict[str, Any] = model.model_json_schema()
    if not required:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}
    }
