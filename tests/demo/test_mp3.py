"""How long an mp3 plays, against an encoder's and a decoder's own word."""

import lameenc
from rows import each

from kotatsu_demo import mp3


def encoded(seconds: float, hertz: int, kilobits: int) -> bytes:
    encoder = lameenc.Encoder()
    encoder.set_bit_rate(kilobits)
    encoder.set_in_sample_rate(hertz)
    encoder.set_out_sample_rate(hertz)
    encoder.set_channels(1)
    encoder.silence()
    return bytes(encoder.encode(b"\0\0" * round(seconds * hertz)) + encoder.flush())


@each("hertz, kilobits", [
    (48000, 64), (44100, 128), (24000, 64), (22050, 48), (8000, 24),
])  # fmt: skip
def test_it_is_what_was_encoded_give_or_take_the_encoders_padding(hertz: int, kilobits: int):
    padding = 4 * 1152 / hertz
    assert 3.0 <= mp3.seconds(encoded(3.0, hertz, kilobits)) <= 3.0 + padding


@each("data", [
    b"", b"ID3", b'{"detail": "no"}', b"RIFF....WAVE", b"\xff\xfb", b"\xff" * 64,
])  # fmt: skip
def test_what_is_no_mp3_plays_for_no_time(data: bytes):
    assert mp3.seconds(data) == 0.0
