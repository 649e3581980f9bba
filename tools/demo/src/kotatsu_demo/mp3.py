"""How long an mp3 plays, from its frame headers (ISO/IEC 11172-3, 13818-3; layer III)."""

from __future__ import annotations

_MPEG1, _MPEG2, _MPEG25 = 3, 2, 0
_LAYER_III = 1
_RATES = {  # kilobits per second, by MPEG 1 or later, and the index in the header
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HERTZ = {
    _MPEG1: (44100, 48000, 32000),
    _MPEG2: (22050, 24000, 16000),
    _MPEG25: (11025, 12000, 8000),
}


def seconds(data: bytes) -> float:
    """The playing time in seconds; 0.0 for what is no mp3."""
    position, total = _after_id3(data), 0.0
    while position + 4 <= len(data):
        frame = _frame(data[position : position + 4])
        if frame is None:
            break
        size, duration = frame
        if position + size > len(data):
            break
        total += duration
        position += size
    return total


def _after_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _frame(header: bytes) -> tuple[int, float] | None:
    """Size in bytes and duration in seconds of a frame; None when this is no frame."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    rate, frequency, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    if bits >> 21 != 0x7FF or layer != _LAYER_III or version not in _HERTZ:
        return None
    if rate in (0, 15) or frequency == 3:
        return None
    hertz = _HERTZ[version][frequency]
    samples = 1152 if version == _MPEG1 else 576
    size = samples // 8 * _RATES[version == _MPEG1][rate] * 1000 // hertz + padding
    return size, samples / hertz
