"""From an engine's samples to what a player plays: leveled, trimmed, encoded."""

import io
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
SILENCE_DBFS = -50.0
INAUDIBLE_DBFS = -60.0
# Kept at both ends of a trimmed piece, so that no consonant is cut.
EDGE_MS = 30
_STEP_MS = 10

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
    """One piece of speech at full level, without the silence around it.

    SilentError if nothing can be heard.
    """
    segment = AudioSegment(data=pcm.samples, sample_width=2, frame_rate=pcm.rate, channels=1)
    if segment.max_dBFS < INAUDIBLE_DBFS:
        raise SilentError("The text has no sound.")
    segment = normalize(segment, headroom=HEADROOM_DB)
    start = detect_leading_silence(segment, SILENCE_DBFS, _STEP_MS)
    end = len(segment) - detect_leading_silence(segment.reverse(), SILENCE_DBFS, _STEP_MS)
    return segment[max(0, start - EDGE_MS) : end + EDGE_MS]


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
