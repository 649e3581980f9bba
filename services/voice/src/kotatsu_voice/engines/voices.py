"""What the two VOICEVOX engines share: which styles speak, which is the default, the credits."""

import re
from collections.abc import Sequence

from kotatsu_voice.engine import EngineFailedError, Style

SEED_STYLE = 1
"""ずんだもん, あまあま: the voice of the first version of the app. It is in 0.vvm."""

# The other types sing. `streaming_talk` (0.17) does all that `talk` does.
_TALKS = frozenset({"talk", "streaming_talk"})

# Where the terms of a voice ask for more than its name:
# https://github.com/VOICEVOX/voicevox_vvm/blob/main/TERMS.txt, and for 里石ユカ
# https://github.com/VOICEVOX/voicevox_blog, src/assets/library-term-intro-markdowns.
_CREDITS = {
    "もち子さん": "もち子(cv 明日葉よもぎ)",
    "Voidoll": "Voidoll(CV:丹下桜)",
    "ユーレイちゃん": "ユーレイちゃん(CV:神崎零)",
    "里石ユカ": "里石ユカ（つぼみ）",
}
_NEMO = re.compile(r"[男女]声\d+")


def talks(style_type: str) -> bool:
    """Whether styles of this type speak texts."""
    return style_type in _TALKS


def credit(speaker: str) -> str:
    """The line that the terms of a voice ask listeners to be shown."""
    if _NEMO.fullmatch(speaker):
        return "VOICEVOX Nemo"
    return f"VOICEVOX:{_CREDITS.get(speaker, speaker)}"


def default_style(styles: Sequence[Style]) -> int:
    """The seed's style, or the first one of a model without it. EngineFailedError without any."""
    if not styles:
        raise EngineFailedError("VOICEVOX has no style that speaks.")
    ids = [style.id for style in styles]
    return SEED_STYLE if SEED_STYLE in ids else ids[0]
