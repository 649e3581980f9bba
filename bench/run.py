"""Measure, and print one table; write it to build/benchmarks as well (not with --quick).

With --publish nothing is measured: what was goes to docs/benchmarks, with page and pictures.
Each topic runs in a process of its own, one after the other. One that fails is named at the end and
keeps its last results. The cluster is started where none runs, and then removed again.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import circumstances
import cluster
import picture
import report
import table
from report import Topic
from topic import progress

HERE = Path(__file__).parent
ORDER = (
    "wake",
    "first_sound",
    "parked",
    "full_node",
    "states",
    "burst",
    "warm_path",
    "splice",
    "punctuality",
    "pools",
    "namespaces",
    "sets",
    "flood",
    "listeners",
    "speech",
    "talk",
    "users",
    "authorize",
    "footprint",
    "suggest",
)
"""The order of the table; what is not named here comes last."""
RACES = ("peers", "no_gauge")
"""Whose rows are drawn as a race."""
QUIET_WITHIN = 20.0
"""Seconds that the machine gets to become quiet between two topics."""
TOPIC_SECONDS = 3600
"""What a topic may take that does not say `SECONDS`."""
_ROWS = re.compile(r"^(async )?def rows\(", re.MULTILINE)
_ON_REQUEST = re.compile(r"^ON_REQUEST = True$", re.MULTILINE)
_SECONDS = re.compile(r"^SECONDS = (\d+)$", re.MULTILINE)
_CLUSTER = re.compile(r"^from (cluster|peers) import", re.MULTILINE)


def topics(folder: Path = HERE) -> list[str]:
    """The topics there are: every module here that has rows."""
    found = [f.stem for f in folder.glob("*.py") if _ROWS.search(f.read_text())]
    return sorted(found, key=lambda name: (_place(name), name))


def says(name: str, what: re.Pattern[str]) -> re.Match[str] | None:
    """What a topic's source says of it, if anything: on request, on a cluster, its time."""
    return what.search((HERE / f"{name}.py").read_text())


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; 1 when a topic failed."""
    options = _parser().parse_args(arguments)
    known = topics()
    unknown = [name for name in options.topics if name not in known]
    if unknown:
        print(f"no topic {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    if options.publish:
        return _publish(options.topics or known, known)
    wanted = options.topics or [name for name in known if not says(name, _ON_REQUEST)]
    # Those that need no cluster come first: it takes its share of the machine, even when idle.
    on_cluster = [name for name in wanted if says(name, _CLUSTER)]
    measured = {n: _run(n, quick=options.quick) for n in wanted if n not in on_cluster}
    if on_cluster:
        with cluster.provided():
            measured |= {name: _run(name, quick=options.quick) for name in on_cluster}
    found = [topic for name in known if (topic := measured.get(name)) is not None]
    failed = [name for name, topic in measured.items() if topic is None]
    if options.output == "json":
        print(json.dumps([topic.to_json() for topic in found], indent=2, ensure_ascii=False))
    else:
        print(table.terminal(found))
    if found and not options.quick:
        measured_before = report.read(report.MEASURED)
        write(report.merged(measured_before, found, known), report.MEASURED)
    if failed:
        print(f"failed: {', '.join(failed)}; what they said is above", file=sys.stderr)
    return 1 if failed else 0


def _publish(wanted: Sequence[str], known: Sequence[str]) -> int:
    """Publish the topics among those wanted that were measured; 2 when none of them was."""
    found = [topic for topic in report.read(report.MEASURED) if topic.name in wanted]
    if not found:
        print("nothing of that was measured in this checkout: `make bench` first", file=sys.stderr)
        return 2
    write(report.merged(report.read(report.RESULTS), found, known), report.RESULTS)
    print(f"published: {', '.join(f'{topic.name} of {topic.at}' for topic in found)}")
    return 0


def write(all_topics: Sequence[Topic], path: Path) -> None:
    """Write the results, and the page and the pictures that are made from them."""
    report.write(all_topics, path)
    path.with_name("README.md").write_text(table.markdown(all_topics))
    path.with_name("rows.md").write_text(table.every_row(all_topics))
    path.with_name("benchmarks.svg").write_text(picture.draw(all_topics))
    if raced := [row for topic in all_topics if topic.name in RACES for row in topic.rows]:
        path.with_name("race.svg").write_text(picture.draw_race(raced))


def _run(name: str, *, quick: bool) -> Topic | None:
    """One topic in its own process; None when it failed. Ctrl-C ends it as it would end alone."""
    progress.say(f"· measure {name}")
    circumstances.wait_until_quiet(report.BUSY_SHARE, QUIET_WITHIN)
    command = [sys.executable, str(HERE / f"{name}.py"), "-o", "json"]
    process = subprocess.Popen([*command, *["--quick"] * quick], stdout=subprocess.PIPE, text=True)
    said = says(name, _SECONDS)
    seconds = int(said[1]) if said else TOPIC_SECONDS
    try:
        output, _ = process.communicate(timeout=seconds)
    except (KeyboardInterrupt, subprocess.TimeoutExpired) as error:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        if isinstance(error, KeyboardInterrupt):
            raise
        progress.say(f"{name} took more than {seconds} s and was ended")
        return None
    if process.returncode != 0:
        return None
    return Topic.from_json(json.loads(output))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = topics()
    asked = ", ".join(name for name in known if says(name, _ON_REQUEST))
    usual = ", ".join(name for name in known if not says(name, _ON_REQUEST))
    usage = f"of: {usual}; only when named: {asked}"
    parser.add_argument("topics", nargs="*", metavar="topic", help=usage)
    parser.add_argument("--quick", action="store_true", help="fewer runs, and nothing is written")
    parser.add_argument("--publish", action="store_true", help="publish what was measured before")
    parser.add_argument("-o", choices=("table", "json"), default="table", dest="output")
    return parser


if __name__ == "__main__":
    # `kill` ends it as Ctrl-C does: with the topic that is being measured.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
