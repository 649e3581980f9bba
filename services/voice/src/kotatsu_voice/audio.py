"""From an engine's samples to what a player plays: leveled, trimmed, encoded."""

import io
import math
import warnings
import wave

import lameenc

from kotatsu_voice.engine import EngineFailedError, Pcm, SilentError

with warnings.catch_warnings():
    # pydub looks for ffmpeg, which we never call, and uses escapes that newer Pythons warn about.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.effects import normalize
    from pydub.silence import detect_leading_silence

HEADROOM_DB = 1.0
# Of speech without its pauses. Pieces with one peak differ by 4.5 dB, and those of a sentence are
# heard beside each other. Speech peaks 15 to 18 dB above its level, so the headroom stays.
LEVEL_DBFS = -19.0
SILENCE_DBFS = -50.0
INAUDIBLE_DBFS = -60.0
# Kept at both ends of a trimmed piece, so that no consonant is cut.
EDGE_MS = 30
_STEP_MS = 10
_FRAME_MS = 50

MP3_KBPS = 64
# 2 is best and slow, 7 fast; for speech at this rate the difference can't be heard.
_LAME_QUALITY = 7


def pcm_of_wav(data: bytes) -> Pcm:
    """Samples of a WAV file; EngineFailedError if it is none."""
    try:
        segment = AudioSegment.from_file(io.BytesIO(data), format="wav")
    except Exception as error:  # pydub raises whatever its reader raised
        raise EngineFailedError("The engine's answer is not a WAV file.") from error
    segment = segment.set_channels(1).set_sample_width(2)
    return Pcm(segment.frame_rate, segment.raw_data)


def polish(pcm: Pcm) -> AudioSegment:
    """One piece of speech at LEVEL_DBFS, without the silence around it.

    It is softer where its peaks would leave less than HEADROOM_DB.

    SilentError if nothing can be heard.
    """
    segment = AudioSegment(data=pcm.samples, sample_width=2, frame_rate=pcm.rate, channels=1)
    if segment.max_dBFS < INAUDIBLE_DBFS:
        raise SilentError("The text has no sound.")
    segment = normalize(segment, headroom=HEADROOM_DB)
    start = detect_leading_silence(segment, SILENCE_DBFS, _STEP_MS)
    end = len(segment) - detect_leading_silence(segment.reverse(), SILENCE_DBFS, _STEP_MS)
    segment = segment[max(0, start - EDGE_MS) : end + EDGE_MS]
    return segment.apply_gain(min(LEVEL_DBFS - _level(segment), 0.0))


def _level(segment: AudioSegment) -> float:
    """The level of what is heard in a segment, in dBFS: pauses do not count."""
    frames = [frame for frame in segment[::_FRAME_MS] if frame.dBFS > SILENCE_DBFS]
    power = sum(frame.rms**2 for frame in frames) / len(frames)
    return 10 * math.log10(power) - 20 * math.log10(segment.max_possible_amplitude)


def silence(seconds: float, rate: int) -> AudioSegment:
    """A pause."""
    return AudioSegment.silent(round(seconds * 1000), frame_rate=rate)


def wav_header(rate: int, size: int) -> bytes:
    """What stands in a WAV file before `size` bytes of samples."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.setnframes(size // 2)
        file.writeframesraw(b"")
        return buffer.getvalue()


class Mp3:
    """One MP3 stream, made as the segments come. All have one rate."""

    def __init__(self, rate: int) -> None:
        self._encoder = lameenc.Encoder()
        self._encoder.silence()
        self._encoder.set_bit_rate(MP3_KBPS)
        self._encoder.set_in_sample_rate(rate)
        self._encoder.set_channels(1)
        self._encoder.set_quality(_LAME_QUALITY)

    def add(self, segment: AudioSegment) -> bytes:
        """What can be played by now. LAME keeps up to two frames back."""
        return bytes(self._encoder.encode(segment.raw_data))

    def end(self) -> bytes:
        """The rest."""
        return bytes(self._encoder.flush())
