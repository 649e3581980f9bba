"""JSON that is nested too deeply for Python's readers.

The API server accepts ten thousand levels, and what it keeps of them in `managedFields` is up to
whoever may write an object. Python's readers raise RecursionError after about a thousand, also for
what they skip.
"""

import json
import re
from typing import Any

DEEPEST = 400
"""Levels that are kept: no object of Kubernetes needs a tenth of them."""

_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)


def shallow(data: bytes) -> bytes:
    """The same JSON with null in the place of what is more than DEEPEST levels deep."""
    if data.count(b"{") + data.count(b"[") <= DEEPEST:
        return data
    kept, depth, start = list[bytes](), 0, 0
    for found in _MARK.finditer(data):
        match data[found.start()]:
            case 0x7B | 0x5B:  # { and [
                depth += 1
                if depth == DEEPEST + 1:
                    kept += data[start : found.start()], b"null"
            case 0x7D | 0x5D:  # } and ]
                depth -= 1
                if depth == DEEPEST:
                    start = found.end()
    return b"".join((*kept, data[start:]))


def loads(data: bytes) -> Any:
    """Read JSON of any depth. Raises ValueError."""
    try:
        return json.loads(data)
    except RecursionError:
        return json.loads(shallow(data))
