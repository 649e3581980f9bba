import io
import wave

import numpy as np
import pytest
from rows import each
from sound import player
from voice.fakes import RATE, Heard, hum, level, mp3

from kotatsu_voice.audio import LEVEL_DBFS, Mp3, pcm_of_wav, polish, silence, wav_header
from kotatsu_voice.engine import EngineFailedError, Pcm, SilentError, UnspeakableError
from kotatsu_voice.engines.openjtalk import samples


def shaped(peaks: int, pause: float = 0.0) -> Pcm:
    """A tone of which some tenths of a second are three times as loud, after a pause in it."""
    tone, loud = (np.frombuffer(hum(1, a, edge=0.0).samples, "<i2") for a in (0.2, 0.6))
    still = np.zeros(round(pause * RATE), "<i2")
    many = peaks * RATE // 10
    return Pcm(RATE, np.concatenate([tone[many:], still, loud[:many]]).tobytes())


@each("amplitude", [0.01, 0.3, 1.0])
def test_speech_gets_one_level(amplitude: float) -> None:
    assert level(mp3(hum(1, amplitude))) == pytest.approx(LEVEL_DBFS, abs=0.5)


def test_pieces_of_other_shapes_and_with_pauses_differ_by_less_than_a_decibel() -> None:
    levels = [level(mp3(shaped(n, pause))) for n in (0, 1, 9) for pause in (0.0, 0.5)]
    assert max(levels) - min(levels) < 1


def test_a_piece_whose_peaks_would_clip_is_softer() -> None:
    click = bytearray(hum(1, 0.02).samples)
    click[RATE : RATE + 2] = (32767).to_bytes(2, "little")
    assert polish(Pcm(RATE, bytes(click))).max_dBFS == pytest.approx(-1.0, abs=0.1)


def test_the_silence_around_speech_is_trimmed() -> None:
    assert polish(hum(1.0, edge=0.5)).duration_seconds == pytest.approx(1.0, abs=0.08)


@each("pcm", [Pcm(RATE, b""), Pcm(RATE, bytes(4800)), hum(1, 0.0005)])
def test_what_cannot_be_heard_is_silent(pcm: Pcm) -> None:
    with pytest.raises(SilentError):
        polish(pcm)


def test_a_real_decoder_plays_the_mp3() -> None:
    data = mp3(hum(2.0))
    assert player().mp3_get_info(data).sample_rate == RATE
    heard = Heard(data)
    assert heard.seconds == pytest.approx(2.0, abs=0.2)
    assert 0.1 < heard.rms < heard.peak < 0.3


def test_an_mp3_made_in_parts_is_one_stream() -> None:
    encoder = Mp3(RATE)
    parts = [encoder.add(polish(hum(1.0))), encoder.add(silence(0.5, RATE)), encoder.end()]
    assert len(parts[0]) > 5000
    assert Heard(b"".join(parts)).seconds == pytest.approx(1.5, abs=0.25)


def test_wav_has_one_header_for_all_samples() -> None:
    samples = [polish(hum(1.0)).raw_data, silence(0.5, RATE).raw_data, polish(hum(1.0)).raw_data]
    data = b"".join([wav_header(RATE, sum(map(len, samples))), *samples])
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(2.5, abs=0.15)
    assert Heard(data).peak < 1.0


def test_a_stereo_wav_becomes_one_channel() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"\x00\x10\x00\x10" * RATE)
    pcm = pcm_of_wav(buffer.getvalue())
    assert (pcm.rate, pcm.seconds) == (RATE, 1.0)


def test_a_44_byte_wav_is_silent_and_garbage_is_a_failure() -> None:
    empty = wav_header(RATE, 0)
    assert len(empty) == 44
    with pytest.raises(SilentError):
        polish(pcm_of_wav(empty))
    for data in (b"", b"RIFF", b"<html>"):
        with pytest.raises(EngineFailedError):
            pcm_of_wav(data)


def test_peaks_above_full_scale_are_scaled_and_not_clipped() -> None:
    loud = np.sin(np.arange(4800) / 10) * 32767 * 3
    made = np.frombuffer(samples(loud), "<i2")
    assert made.max() == 32767
    assert np.count_nonzero(made == 32767) < 10
    assert np.allclose(made, loud / 3, atol=1.5)


@each("peak", [1e6, 3e66, np.inf, np.nan])
def test_an_absurd_peak_is_refused(peak: float) -> None:
    with pytest.raises(UnspeakableError):
        samples(np.array([0.0, peak, 0.0]))
