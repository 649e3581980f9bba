"""What others have written into a pool says nothing to the terminal."""

import json
import unicodedata
from typing import Any

from plugin.kit import EVENINGS, PITCH, Cluster, demo_mode, manifest
from rows import each

from kotatsu_demo_mode.terminal import plain

CLIPBOARD = "\x1b]52;c;cm0gLXJm\x07"
HOSTILE = f"x{CLIPBOARD}\r\x1b[2K\x9b31m\nfeed  Warm\u202e"


def hostile(**more: Any) -> dict[str, Any]:
    """A pool whose author and status say something to the terminal."""
    until = "2026-11-24T23:00:00Z"
    asked = {"mode": "Warm", "until": until, "by": HOSTILE, "reason": HOSTILE}
    made = manifest(windows=[PITCH | {"name": HOSTILE}, EVENINGS], override=asked, **more)
    made["status"] = {
        "phase": HOSTILE,
        "activeWindow": HOSTILE,
        "lead": HOSTILE,
        "nextTransition": {"at": until, "window": HOSTILE, "kind": "open"},
        "conditions": [{"type": "Accepted", "status": "True", "message": HOSTILE}],
    }
    return made


def harmless(text: str) -> bool:
    return all(c == "\n" or unicodedata.category(c) != "Cc" for c in text) and "\u202e" not in text


@each(
    "words",
    [
        ("status",),
        ("status", "-o", "wide"),
        ("status", "-o", "json"),
        ("status", "-o", "yaml"),
        ("plan", "--days", "40"),
        ("plan", "-o", "json"),
        ("cost",),
        ("off",),
        ("off", "--now"),
        ("on", "--all"),
    ],
)
def test_no_pool_says_anything_to_the_terminal(words: tuple[str, ...]):
    ran = demo_mode(*words, cluster=Cluster(hostile()))
    assert ran.out
    assert harmless(ran.out + ran.err)
    assert not any(line.startswith("feed") for line in ran.out.splitlines())


def test_a_spec_that_is_refused_says_nothing_either():
    ran = demo_mode("status", cluster=Cluster(manifest(timeZone=HOSTILE)))
    assert harmless(ran.out + ran.err)


def test_what_is_escaped_in_json_is_read_back_as_it_was():
    (said,) = json.loads(demo_mode("status", "-o", "json", cluster=Cluster(hostile())).out)
    assert said["status"]["phase"] == HOSTILE


@each("text", ["voice", "決勝 × 5", "👩‍💻", "▁▂▃", ""])
def test_ordinary_text_stays_as_it_is(text: str):
    assert plain(text) == text
