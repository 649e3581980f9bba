"""The optional features that are installed, by the entry points of distributions."""

import logging
from importlib.metadata import entry_points
from typing import Any

log = logging.getLogger(__name__)


def installed(group: str) -> list[Any]:
    """What the entry points of a group name, in the order of their names.

    One whose module or package is not there is left out. Raises any other error of an import.
    """
    found = []
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        try:
            found.append(entry.load())
        except ModuleNotFoundError as error:
            if not f"{entry.module}.".startswith(f"{error.name}."):
                raise
            log.info("left out: the feature %s, since there is no %s", entry.name, error.name)
    return found
