"""One style of log: JSON lines for machines, plain lines on a terminal, never a secret.

Query strings carry OAuth codes and what people want spoken, and headers carry tokens, so what looks
like either is masked whoever logged it: a library, a traceback, or us.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime

MASK = "…"
# Each part moves on from where it failed: what is masked comes from strangers, and a path of 32 kB
# with a question mark at every second place once took four seconds.
# A GitHub token wherever it stands, the value of an authorization or key header, a query string.
_SECRETS = re.compile(
    r"""(?ix)
    \b (?: gh[a-z]_ | github_pat_ ) \w+
    | (?<= authorization ) (?: ['"]? \s* [:=,] \s* ) [^\r\n,})\]]+
    | (?<= x-goog-api-key ) (?: ['"]? \s* [:=,] \s* ) [^\s,})\]]+
    | (?<= [\w/?] ) \? [^\s"'<>=?]+ = [^\s"'<>]*
    """
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def mask(text: str) -> str:
    """`text` without tokens, keys, query strings and control characters."""
    return _CONTROL.sub(" ", _SECRETS.sub(MASK, text))


class _Lines(logging.Formatter):
    """Shared by both styles: the record's own message, its extras, and what went wrong."""

    def extras(self, record: logging.LogRecord) -> dict[str, object]:
        return {key: value for key, value in vars(record).items() if key not in _STANDARD}

    def trace(self, record: logging.LogRecord) -> str:
        return mask(self.formatException(record.exc_info)) if record.exc_info else ""


class JsonLines(_Lines):
    """One JSON object for each record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON: time (UTC), level, logger, message, extras, error."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        for key, value in self.extras(record).items():
            plain = isinstance(value, int | float | bool) or value is None
            entry[key] = value if plain else mask(str(value))
        if trace := self.trace(record):
            entry["error"] = trace
        return json.dumps(entry)


class Human(_Lines):
    """A line for people: time, level, logger, message, extras."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        message = mask(record.getMessage())
        extras = "".join(f" {key}={mask(str(v))}" for key, v in self.extras(record).items())
        trace = self.trace(record)
        end = f"\n{trace}" if trace else ""
        return f"{time} {record.levelname:<7} {record.name}: {message}{extras}{end}"


def configure(level: str) -> None:
    """Send every logger of the process to stderr in one style.

    uvicorn's own loggers join the others; its access log, which would print query strings, stays
    off: the access line comes from `traffic`, without them and without probes. HTTP clients are
    quiet (`quiet_clients`).
    """
    # Nothing of ours prints these, and finding them out takes a quarter of a record's time.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
    handler = logging.StreamHandler()
    handler.setFormatter(Human() if sys.stderr.isatty() else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.access").disabled = True
    quiet_clients()
    logging.captureWarnings(True)


def quiet_clients() -> None:
    """Let HTTP clients log from WARNING up only: below it are whole URLs, which may be secrets."""
    for name in ("httpx", "httpcore", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
