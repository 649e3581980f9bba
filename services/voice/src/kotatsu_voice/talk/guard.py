"""Does a message try to change what the bird is told to be? Pure.

No list of phrases is complete, so this is the first of three fences. The second: a message goes to
the model as a visitor's words, apart from the instructions. The third: whatever comes back, only
140 characters of hiragana are ever spoken.
"""

import re
import unicodedata

_CHANGE = (
    r"(?:無視|むし|忘れ|わすれ|破棄|上書き|変更|リセット|解除"
    r"|override|ignore|forget|disregard|bypass)"
)
_RULES = (
    r"(?:指示|しじ|命令|めいれい|ルール|るーる|設定|制限|制約|プロンプト|instructions?|rules?"
    r"|prompts?|guidelines?|restrictions?)"
)
_REVEAL = r"(?:見せ|教え|おしえ|出力|表示|繰り返|reveal|show|print|repeat|output|leak)"
_HIDDEN = (
    r"(?:システム\s*プロンプト|内部の?指示|初期設定"
    r"|system\s*prompt|hidden\s*(?:prompt|instructions?))"
)
_PATTERNS = (
    rf"{_RULES}.{{0,20}}?{_CHANGE}",
    rf"{_CHANGE}.{{0,40}}?{_RULES}",
    rf"{_HIDDEN}.{{0,20}}?{_REVEAL}",
    rf"{_REVEAL}.{{0,30}}?{_HIDDEN}",
    r"(?:あなた|きみ|君|お前)は(?:今|いま|これ)から",
    r"(?:you\s+are\s+now|from\s+now\s+on\s*,?\s*you|pretend\s+(?:to\s+be|you\s+are)|act\s+as\s)",
    r"(?:ふり|振り)を(?:して|しろ)|になりきっ|としてふるまっ|として振る舞",
    r"(?:jailbreak|脱獄|developer\s*mode|開発者モード|\bDAN\b|do\s+anything\s+now)",
    r"</?\s*(?:system|assistant|user|instructions?)\s*>|\[/?INST\]|^\s*(?:system|assistant)\s*:",
    r"(?:new|新しい)\s*(?:instructions?|指示|命令)\s*[:：]",
)
_INJECTION = re.compile("|".join(_PATTERNS), re.IGNORECASE | re.MULTILINE)


def tries_to_instruct(message: str) -> bool:
    """Whether it reads like new instructions rather than talk with a bird."""
    flat = unicodedata.normalize("NFKC", message)
    flat = "".join(c for c in flat if unicodedata.category(c) != "Cf")
    return bool(_INJECTION.search(flat))
