"""Signatures by cosign, where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kotatsu_node import shell

_SECONDS = 300.0


class Cosign:
    """Signs without a key (an identity that cosign asks for, or CI gives), or with one."""

    def __init__(self, program: str, key: str = "") -> None:
        self._program = program
        self._key = ("--key", key) if key else ()

    def sign_pushed(self, references: Sequence[str]) -> None:
        """Sign what is in a registry, each by its digest."""
        shell.call([self._program, "sign", "--yes", *self._key, *references], timeout=_SECONDS)

    def sign_file(self, file: Path) -> Path:
        """Sign a file; the path of the bundle that `cosign verify-blob --bundle` takes."""
        bundle = file.with_name(f"{file.name}.sigstore.json")
        sign = (self._program, "sign-blob", "--yes", *self._key)
        shell.call([*sign, "--bundle", bundle, file], timeout=_SECONDS)
        return bundle
