"""Seed faults on the paths of sleep and wake, one at a time, and say which tests find each.

Tests run in a copy of a commit: the checkout and its uncommitted changes take no part. Of the tiers
(fast, slow, API server, with --e2e also end to end) the first one that finds a fault ends its run.
A test counts only if it fails again by itself, and passes without the fault. Results are recorded
in build/mutations.jsonl: the next run on the same commit goes on from there.

Prints a table, or JSON in a pipe. Exit codes: 0 every fault is found, 1 some are not, 2 trouble.
"""

# ruff: noqa: T201
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = Path("operator/src/kotatsu_operator")
RECORD = ROOT / "build/mutations.jsonl"
_OPERATOR = ("tests/operator", "tests/protocol")
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-m")
_NEVER = "not e2e and not node and not soak and not nightly and not postgres"
TIERS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "fast": ((*_PYTEST, f"{_NEVER} and not slow", "--hypothesis-profile=few"), _OPERATOR),
    "slow": ((*_PYTEST, f"{_NEVER} and (slow or hypothesis)"), _OPERATOR),
    "API server": ((*_PYTEST, f"{_NEVER} and apiserver"), ("tests/apiserver",)),
    "end to end": (("tests/e2e/run.sh", "-x", "-m", "e2e and not nightly"), ("tests",)),
}
"""What of `make check`, `make test` and `make e2e` concerns the operator: command and folders."""


class TroubleError(Exception):
    """Why the check cannot go on, for people."""


@dataclass(frozen=True)
class Fault:
    """One fault: in `file`, `new` in place of `old`."""

    name: str
    file: str
    breaks: str
    hurts: str
    first: Sequence[str]
    old: str
    new: str

    def seeded(self, text: str) -> str:
        """The source with the fault. Raises TroubleError unless its place is there once."""
        if (found := text.count(self.old)) != 1:
            what = f"{self.name}: its old text occurs {found} times in {SOURCES / self.file}"
            raise TroubleError(f"{what}: correct it in tests/mutations/faults.toml")
        return text.replace(self.old, self.new)


def read_faults() -> list[Fault]:
    text = Path(__file__).with_name("faults.toml").read_text()
    return [Fault(**fault) for fault in tomllib.loads(text)["fault"]]


class Copy:
    """A copy of a commit, whose own sources are imported."""

    def __init__(self, root: Path, commit: str) -> None:
        self.root = root
        _git("clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(root))
        _git("-C", str(root), "checkout", "--quiet", commit)
        sources = sorted({str(path.parent.parent) for path in root.glob("**/src/*/__init__.py")})
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(sources)}
        (root / ".venv").symlink_to(Path(sys.executable).parent.parent)
        _, where = self._run(sys.executable, "-c", "import kotatsu_operator as o; print(o)")
        if str(root) not in where:
            raise TroubleError(f"the tests would not import the copy's sources: {where}")

    def failing(self, command: Sequence[str], paths: Sequence[str]) -> tuple[str, list[str]]:
        """The first test that fails, empty without one, and what was left out."""
        if not all((self.root / path.split("::")[0]).exists() for path in paths):
            return "", [f"there is no {' '.join(paths)}"]
        last = self.root / ".pytest_cache/v/cache/lastfailed"
        last.unlink(missing_ok=True)
        code, said = self._run(*command, *paths)
        if code in (0, 5):  # 5: no test was chosen
            return "", [line for line in said.splitlines() if line.startswith("SKIPPED")]
        if code != 1 or not last.exists():
            raise TroubleError(f"{command[0]} ended with {code}:\n{said[-3000:]}")
        return next(iter(json.loads(last.read_text()))), []

    def _run(self, *command: str) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=self.root, env=self._environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout


def find(fault: Fault, copy: Copy, tiers: Sequence[str]) -> dict[str, Any]:
    """Run the tiers until a test finds the fault; leaves the copy as it was."""
    place = copy.root / SOURCES / fault.file
    faulty = fault.seeded(sound := place.read_text())
    doubtful, left_out = list[str](), list[str]()
    rounds = [("fast", fault.first)] if "fast" in tiers else []
    rounds += [(tier, TIERS[tier][1]) for tier in tiers]
    try:
        while rounds:
            tier, places = rounds[0]
            command = TIERS[tier][0]
            place.write_text(faulty)
            test, skipped = copy.failing([*command, *map("--deselect={}".format, doubtful)], places)
            if not test:
                left_out += skipped if places is not fault.first else ()
                del rounds[0]
                continue
            fails_again = copy.failing(command, [test])[0]
            place.write_text(sound)
            if fails_again and not copy.failing(command, [test])[0]:
                return {"tier": tier, "test": test, "doubtful": doubtful}
            if test in doubtful:
                raise TroubleError(f"{test} fails without a fault")
            doubtful.append(test)  # it fails without the fault, or not every time
    finally:
        place.write_text(sound)
    return {"tier": "no test", "test": "", "doubtful": doubtful, "left_out": left_out}


def check(faults: Sequence[Fault], commit: str, tiers: Sequence[str]) -> list[dict[str, Any]]:
    """Check faults on one commit; those whose result is recorded are not run again."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    known = {(row["commit"], row["old"], row["new"]): row for row in map(json.loads, lines)}
    rows = list[dict[str, Any]]()
    RECORD.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kotatsu-mutations-") as folder:
        copy = Copy(Path(folder).resolve() / "copy", commit)
        for fault in faults:  # a place that has moved is said before anything runs
            fault.seeded((copy.root / SOURCES / fault.file).read_text())
        for number, fault in enumerate(faults, 1):
            row = known.get((commit, fault.old, fault.new), {"ran": [], "test": ""})
            due = [tier for tier in tiers if tier not in row["ran"]]
            if due and not row["test"]:
                began = time.monotonic()
                row = {"commit": commit, **asdict(fault), "ran": [*row["ran"], *due]}
                row |= find(fault, copy, due) | {"seconds": round(time.monotonic() - began)}
                with RECORD.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            rows.append(row)
            found = f"{row['tier']}: {row['test']} ({row['seconds']} s)"
            print(f"· {number} of {len(faults)} {fault.name}, {found}", file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results as a table in Markdown, and a line that counts them."""
    lines = [f"| {row['name']} | {row['tier']} | {row['test']} |" for row in rows]
    tiers = [row["tier"] for row in rows]
    counts = ", ".join(f"{tiers.count(tier)} by {tier}" for tier in dict.fromkeys(tiers))
    return "\n".join(["| fault | tier | test |", "|---|---|---|", *lines, "", f"Found: {counts}"])


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise TroubleError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", help="names of faults; default: all")
    parser.add_argument("--commit", default="HEAD", help="what to test; default: %(default)s")
    parser.add_argument("--e2e", action="store_true", help="run `make e2e` for what is not found")
    options = parser.parse_args(arguments)
    faults = {fault.name: fault for fault in read_faults()}
    if unknown := [name for name in options.faults if name not in faults]:
        parser.error(f"no fault {', '.join(unknown)}; there are: {', '.join(faults)}")
    tiers = list(TIERS) if options.e2e else list(TIERS)[:-1]
    try:
        commit = _git("rev-parse", "--verify", f"{options.commit}^{{commit}}")
        rows = check([faults[name] for name in options.faults or faults], commit, tiers)
    except TroubleError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what was found is recorded
    print(table(rows) if sys.stdout.isatty() else json.dumps(rows, indent=2))
    return 0 if all(row["test"] for row in rows) else 1


if __name__ == "__main__":
    # `kill` ends it as Ctrl-C does: the copy is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
