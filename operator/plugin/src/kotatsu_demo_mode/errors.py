"""Errors of the plugin: a sentence with what happened and what to do next."""


class DemoModeError(Exception):
    """A command failed; the message is shown to the user."""


class NotFoundError(DemoModeError):
    """The object does not exist."""


class ForbiddenError(DemoModeError):
    """The account lacks a permission."""


class NotServedError(DemoModeError):
    """The cluster has no such API."""


class ConflictError(DemoModeError):
    """Another field manager owns the field, or the object has changed."""


def changed(pool: str) -> ConflictError:
    """The error of a write to a pool that has changed since it was read."""
    return ConflictError(f"the pool {pool} has changed meanwhile; check it and repeat the command")
