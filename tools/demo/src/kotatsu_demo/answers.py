"""The answer to a request for speech."""

from __future__ import annotations

from dataclasses import dataclass

from kotatsu_demo import mp3


@dataclass(frozen=True)
class Answer:
    """An mp3, and how long it took to get."""

    seconds: float
    """From the first byte sent to the last byte received, measured inside the cluster."""
    audio: bytes

    @property
    def size(self) -> int:
        """Bytes of the mp3."""
        return len(self.audio)

    @property
    def speech(self) -> float:
        """Seconds the mp3 plays."""
        return mp3.seconds(self.audio)
