"""What a pet may be called: it is shown to everybody in the ranking."""

import unicodedata
from itertools import groupby

DEFAULT_NAME = "DASH"
MAX_LENGTH = 50

# Controls (NUL can't be stored in PostgreSQL), lone surrogates (no UTF-8 for them), line and
# paragraph separators, code points nobody has assigned, private use.
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp", "Cn", "Co"})
# Format characters are allowed, since emoji are joined by one, but not those that turn the
# direction of the text around them and so could rewrite a neighbor's line in the ranking.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Letters and symbols that are drawn as nothing at all.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
# Marks on one character; more than any script needs would be drawn over the lines above and below.
_MOST_MARKS = 4


class BadNameError(ValueError):
    """This can't be a pet's name; the text says why."""


def clean_name(name: str) -> str:
    """The name as it is stored: trimmed, composed (NFC); BadNameError if it can't be one."""
    if len(name) > 4 * MAX_LENGTH:
        raise BadNameError(f"A name has at most {MAX_LENGTH} characters.")
    if any(c in _DIRECTION or unicodedata.category(c) in _REFUSED for c in name):
        raise BadNameError("A name can't contain control or other invisible characters.")
    cleaned = unicodedata.normalize("NFC", name).strip()
    if len(cleaned) > MAX_LENGTH:
        raise BadNameError(f"A name has at most {MAX_LENGTH} characters.")
    if not any(c not in _BLANK and unicodedata.category(c)[0] in "LNPS" for c in cleaned):
        raise BadNameError("A name needs at least one visible character.")
    marks = (unicodedata.category(c) in ("Mn", "Me") for c in cleaned)
    if any(mark and len(list(run)) > _MOST_MARKS for mark, run in groupby(marks)):
        raise BadNameError(f"A character can carry at most {_MOST_MARKS} marks.")
    return cleaned
