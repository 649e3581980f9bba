"""The Idempotency-Key header."""

import string

from kotatsu_common.problems import Problem

MAX_LENGTH = 255
_VISIBLE = frozenset(string.ascii_letters + string.digits + string.punctuation)


def checked_key(key: str | None) -> str | None:
    """The key as it is stored; a Problem if it can't be one."""
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_LENGTH or not _VISIBLE.issuperset(key):
        raise Problem(
            400,
            "Bad Idempotency-Key",
            f"Send 1 to {MAX_LENGTH} visible ASCII characters, such as a random UUID.",
        )
    return key
