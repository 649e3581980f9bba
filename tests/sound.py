"""An mp3 as a listener's player decodes it."""

import importlib
from types import ModuleType

import needs


def player() -> ModuleType:
    """The package miniaudio. It has no wheel for Linux on arm64, so it is not locked there."""
    try:
        return importlib.import_module("miniaudio")
    except ImportError:
        needs.missing("miniaudio", "there is no wheel of it for this machine")
