"""What libraries in C and Rust write to stderr by themselves."""

import json
import subprocess
import sys

WRITES = r"""
import logging, os, threading

from kotatsu_common import logs
from kotatsu_voice import stderr

written = threading.Semaphore(0)


class Done(logging.Handler):
    def emit(self, record):
        written.release()


stderr.capture(logging.getLogger("library"))
logs.configure("info")
logging.getLogger().addHandler(Done())
os.write(2, b"WARNING: push_word(): {\xff\n\n\x1b[0;93mpanicked\x1b[m at lib.rs\n")
logging.getLogger("ours").info("still here")
for _ in range(3):
    assert written.acquire(timeout=20)
"""

FILLS = r"""
import logging, os, threading

from kotatsu_voice import stderr

stderr.capture(logging.getLogger("library"))
held = threading.Event()
logging.getLogger("library").addFilter(lambda record: held.wait(20))
try:
    for _ in range(100):
        os.write(2, b"warning\n" * 10_000)
except BlockingIOError:
    print("refused")
held.set()
"""


def run(script: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout, done.stderr


def test_each_line_of_theirs_is_a_line_of_the_log() -> None:
    _, err = run(WRITES)
    lines = [json.loads(line) for line in err.splitlines()]
    said = {(line["logger"], line["level"], line["message"]) for line in lines}
    assert said == {
        ("library", "warning", "WARNING: push_word(): {\ufffd"),
        ("library", "warning", " [0;93mpanicked [m at lib.rs"),
        ("ours", "info", "still here"),
    }


def test_a_library_never_waits_for_its_lines_to_be_read() -> None:
    out, _ = run(FILLS)
    assert out == "refused\n"
