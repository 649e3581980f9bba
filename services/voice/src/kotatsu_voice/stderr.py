"""What libraries in C and Rust write to stderr becomes lines of the log, which is JSON."""

import logging
import os
import sys
import threading

_CHUNK = 65_536


def capture(logger: logging.Logger) -> None:
    """Log each line that is written to file descriptor 2 from now on, as a warning.

    Call it before the log is configured: `sys.stderr` becomes a copy of the original descriptor.
    A library that fills the pipe loses lines instead of waiting, because the thread that empties it
    may be waiting for the library. What is written in the last moment before a crash is lost.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.dup2(writer, 2)
    os.close(writer)
    threading.Thread(target=_log, args=(reader, logger), name="stderr", daemon=True).start()


def _log(reader: int, logger: logging.Logger) -> None:
    with os.fdopen(reader, "rb", buffering=_CHUNK) as lines:
        for line in lines:
            if text := line.decode(errors="replace").strip():
                logger.warning("%s", text)
