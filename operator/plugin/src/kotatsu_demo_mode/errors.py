"""What went wrong, in one sentence that ends with the next step."""


class DemoModeError(Exception):
    """The command cannot do what was asked; the message is for the person who asked."""


class NotFoundError(DemoModeError):
    """There is no such object."""


class ConflictError(DemoModeError):
    """Somebody else holds what was to be changed."""
