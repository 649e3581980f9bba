"""Figures in the pages that `make bench` measures are those of docs/benchmarks/results.json."""

import json
import re
from dataclasses import dataclass
from typing import Any

from docs.pages import ROOT
from rows import each

TOPICS = json.loads((ROOT / "docs/benchmarks/results.json").read_text())["topics"]
ROWS: dict[str, dict[str, Any]] = {row["what"]: row for topic in TOPICS for row in topic["rows"]}

WAKE = "wake of a small app: cold request to answer ÷ floor"
WAKE_TAIL = "the same at the 95th percentile"
BURST = "500 requests at once from zero: last answer ÷ what the pod alone needs"
FIRST_SOUND = "wake of the voice: cold request to its first sound, in seconds"
VOICE = "voice, parked: first answer ÷ that of a warm pod"
HOUR = "an hour of the voice, parked ÷ warm"
WARM_PATH = "warm path: requests/s through the Service with a pool ÷ without"
AHEAD = "windows whose pod was Ready before they opened"
SPLICE = "splice: requests/s through the activator ÷ direct"
OPERATOR = "memory of the operator, for each pool"
OPERATOR_IDLE = "1,000 pools while nothing happens"
ACTIVATOR = "activator: memory per sleeping pool, 4,000 ÷ 100 pools"
ACTIVATOR_IDLE = "activator: an idle minute, share of a core"
LARGE_MEMORY = "memory of one install, 10,000 pools"
LARGE_IDLE = "10,000 pools on one install while nothing happens"
LARGE_LABELS = "999 namespaces labeled at once → all pools asleep and published"
LARGE_EDIT = "edit of a WarmPool → written down, 10,000 pools on one install"
LARGE_WAKES = "wakes a second of one install, as fast as they are written"
LARGE_ANSWER = "pod Ready → the held request answered, at that rate"
LARGE_SUSTAINED = "4 wakes a second, one after the other: pod Ready → answered"
LARGE_WINDOWS = "1,000 windows of one install at the same minute, Ready before it"
LARGE_ROLL = "rolling update of the activators, 10,000 pools"

KEDA, OURS = "KEDA 2.20.2 with HTTP Add-on 0.15.0, tuned", "Kotatsu, tuned"
WITHOUT_GAUGE = "Kotatsu, no gauge"
OURS_BY_DEFAULT, CRON = "Kotatsu, default", "KEDA 2.20.2 cron scaler"
"""Of the race: its rows begin with what was measured."""
RACE = "docs/benchmarks/race.md"
OPENINGS = "1,000 openings at one minute"
OPERATOR_CPU = r"(\S+) s of the operator's CPU"


@dataclass(frozen=True)
class Figure:
    """A figure of a page, marked (…) in `said`, and where the results have it."""

    page: str
    said: str
    row: str
    where: str
    """(…) in the row's median, spread and how, one after the other; or `ratio`."""
    times: float = 1
    """What a value of the results is multiplied with to have the unit of the page."""


FIGURES = [
    Figure("docs/explanation/compared.md", r"first sound of a voice (\S+) ms", VOICE, r"^(\S+) ms"),
    Figure(
        "docs/explanation/compared.md", r"voice \S+ ms, (\S+) ms when warm", VOICE, r"warm (\S+) ms"
    ),
    Figure("docs/explanation/compared.md", r"a small app (0\S+) s", WAKE, r"^(\S+) ms", 0.001),
    Figure(
        "docs/explanation/compared.md",
        r"first sound of the voice (\S+) s",
        FIRST_SOUND,
        r"^(\S+) ms",
        0.001,
    ),
    Figure("docs/explanation/sleep-and-wake.md", r"after (0\S+) s, ", WAKE, r"^(\S+) ms", 0.001),
    Figure("docs/explanation/sleep-and-wake.md", r" s, (\S+) times what", WAKE, "ratio"),
    Figure("docs/explanation/sleep-and-wake.md", r"needs \((\S+) times at", WAKE_TAIL, "ratio"),
    Figure("docs/explanation/in-flight-metric.md", r"(\S+) of those without a", WARM_PATH, "ratio"),
    Figure(
        "docs/explanation/in-flight-metric.md", r"(\S+) of a direct connection", SPLICE, "ratio"
    ),
    Figure("docs/explanation/cost.md", r"voice\) costs (\S+) yen an hour", HOUR, r"warm (\S+),"),
    Figure("docs/explanation/lead.md", r"pods of (\d+) windows", AHEAD, r"; (\d+) of 200;"),
    Figure("docs/explanation/lead.md", r"in time, (\S+) to", AHEAD, r"min (\S+) s"),
    Figure("docs/explanation/lead.md", r"in time, \S+ to (\S+) s", AHEAD, r"max (\S+) s"),
    Figure(
        "docs/explanation/cost.md", r"\| (\S+) JPY \| \S+ JPY \| nothing \|", HOUR, r"warm (\S+),"
    ),
    Figure("docs/explanation/cost.md", r"\| (\S+) JPY \| \S+ JPY \| nothing;", HOUR, r"^([\d.]+)"),
    Figure("docs/explanation/cost.md", r"\| (\S+) JPY \| nothing \|", HOUR, r"parked, (\S+) warm"),
    Figure("docs/explanation/cost.md", r"\| (\S+) JPY \| nothing;", HOUR, r": (\S+) parked"),
    Figure("README.md", r"\*\*(\S+) times\*\*", WAKE, "ratio"),
    Figure("README.md", r"first request after (\S+) s", WAKE, r"^(\S+) ms", 0.001),
    Figure("README.md", r"last one is answered after (\S+) s", BURST, r"^(\S+) s"),
    Figure("README.md", r"Add-on 0.15\]\(\S+\), after (\S+) s", f"cold: {KEDA}", r"^(\S+) s"),
    Figure("README.md", r"\*\*(\S+)\*\* \| of a direct", f"warm: {OURS}", "ratio"),
    Figure("README.md", r"\[(\S+) without a metric", f"warm: {WITHOUT_GAUGE}", "ratio"),
    Figure(RACE, r"the most: (\S+) of a \[direct", SPLICE, "ratio"),
    Figure("README.md", r"with KEDA (\S+) \|", f"warm: {KEDA}", "ratio"),
    Figure(
        "docs/explanation/compared.md",
        r"Add-on 0.15 at zero \| a small app (\S+) s",
        f"cold: {KEDA}",
        r"^(\S+) s",
    ),
    Figure(RACE, r"took (\S+) s of CPU, ", f"{OPENINGS}: {OURS_BY_DEFAULT}", OPERATOR_CPU),
    Figure(RACE, r"KEDA's (\S+) s and", f"{OPENINGS}: {CRON}, default", OPERATOR_CPU),
    Figure(RACE, r"KEDA's \S+ s and (\S+) s", f"{OPENINGS}: {CRON}, tuned", OPERATOR_CPU),
    Figure("docs/scale.md", r"768 MiB\) \| (\S+) MiB at most", LARGE_MEMORY, r"peaks (\S+) and"),
    Figure("docs/scale.md", r"each\) \| (\S+) MiB at most", LARGE_MEMORY, r"and (\S+) MiB; a"),
    Figure("docs/scale.md", r"minute \| (\S+) % of a core", LARGE_IDLE, r"^(\S+) %"),
    Figure("docs/scale.md", r"published after (\S+) s", LARGE_LABELS, r"^(\S+) s"),
    Figure("docs/scale.md", r"down \| (\S+) ms, 99 %", LARGE_EDIT, r"^(\S+) ms"),
    Figure("docs/scale.md", r"ms, 99 % within (\S+) ms \| \| 300", LARGE_EDIT, r"p99 (\S+) ms"),
    Figure("docs/scale.md", r"\| (\S+) wakes written a second", LARGE_WAKES, r"^(\S+) written"),
    Figure("docs/scale.md", r"95 % answered within (\S+) s", LARGE_WAKES, r"p95 (\S+) s"),
    Figure("docs/scale.md", r"to the answer (\S+) ms", LARGE_ANSWER, r"^(\S+) ms"),
    Figure("docs/scale.md", r"99 % within (\S+) ms \| \| 1,000", LARGE_ANSWER, r"p99 (\S+) ms"),
    Figure("docs/scale.md", r"minute \| (\S+) of 1,000 Ready", LARGE_WINDOWS, r"^(\S+) of"),
    Figure("docs/scale.md", r"replaced \| (\S+) min", LARGE_ROLL, r"^(\S+) min"),
    Figure("docs/scale.md", r"min, 0 of (\S+) requests", LARGE_ROLL, r"0 of (\S+) requests"),
    Figure("docs/scale.md", r"answered (\S+) ms after the pod", LARGE_SUSTAINED, r"^(\S+) ms"),
    Figure("docs/scale.md", r"99 % within (\S+) ms, 0 of 2,", LARGE_SUSTAINED, r"p99 (\S+) ms"),
    Figure("docs/scale.md", r"(\S+) ms of the operator's", LARGE_SUSTAINED, r"operator (\S+) ms"),
    Figure("docs/scale.md", r"core\) \| (\S+) ms of CPU", LARGE_SUSTAINED, r"operator (\S+) ms"),
    Figure("docs/scale.md", r"1,000 pools, (\S+) % of a core\)", OPERATOR_IDLE, r"^(\S+) %"),
    Figure("docs/scale.md", r"(\S+) KiB a sleeping pool", ACTIVATOR, r"^(\S+) KiB"),
    Figure("docs/scale.md", r"two of them\) \| (\S+) KiB", ACTIVATOR, r"^(\S+) KiB"),
    Figure("docs/scale.md", r"\(measured\): (\S+) MiB", ACTIVATOR, r"(\S+) MiB without a pool"),
    Figure("docs/scale.md", r"on top of (\S+) MiB \(m", ACTIVATOR, r"(\S+) MiB without a pool"),
    Figure("docs/scale.md", r"1,000 pools, (\S+) % of a core;", ACTIVATOR_IDLE, r"/ (\S+) % /"),
    Figure("docs/scale.md", r"4,000, (\S+) %", ACTIVATOR_IDLE, r"^(\S+) %"),
]


RACED = {
    "cold request, median of 20": "cold",
    "the same ÷ what the pod alone needs": "cold",
    "cold request, the slowest": "cold",
    "500 requests from zero: the last answer ÷ the pod alone": "burst",
    "requests lost while apps sleep and wake": "cycles",
    "warm requests per second ÷ straight to the pod": "warm",
    "memory while four apps sleep": "memory",
    "an answer that takes 90 s": "request of 90 s",
    "a WebSocket, quiet for 90 s": "WebSocket quiet for 90 s",
    "operator killed: the next cold request": "killed, operator",
    "proxies killed: the next cold request": "killed, (activator|interceptor)",
}
TABLES = {
    "": RACED,
    OPENINGS: dict.fromkeys(
        (
            "Ready at the minute",
            "Ready a minute after it",
            "the last scale written, after the minute",
            "the last pod Ready, after the minute",
        ),
        OPENINGS,
    ),
}
"""Tables of the race by the head of their first column: lines, and how the measured rows begin."""


def shown(page: str) -> str:
    """The text of a page, wherever its lines end."""
    return " ".join((ROOT / page).read_text().split())


def number(text: str) -> tuple[float, float]:
    """A figure, and the half of its last digit: what it was rounded by at most."""
    plain = text.replace(",", "")
    return float(plain), 0.5 * 10 ** -len(plain.partition(".")[2])


@each("figure", FIGURES, name=lambda f: f"{f.page}: {f.said}")
def test_a_figure_is_the_one_that_was_measured(figure: Figure) -> None:
    (said,) = re.findall(figure.said, shown(figure.page))
    row = ROWS[figure.row]
    if figure.where == "ratio":
        found = f"{row['ratio']:#.3g}"
    else:
        text = "; ".join((row["median"], row["spread"], row["how"]))
        (found,) = re.findall(figure.where, text)
    (printed, rounded), (value, measured_to) = number(said), number(found)
    allowed = max(rounded, measured_to * figure.times) * 1.001
    assert abs(printed - value * figure.times) <= allowed, (
        f"the page has {said}, results.json {found}"
    )


def test_whatever_the_page_about_scale_calls_measured_is_compared() -> None:
    page = shown("docs/scale.md").split("## What breaks first", 1)[1]
    spans = [m.span() for f in FIGURES for m in re.finditer(f.said, page) if "scale" in f.page]
    for found in re.finditer(r"measured", page):
        clause = page.rfind("|", 0, found.start()), page.find("|", found.end())
        assert any(clause[0] < start and end < clause[1] for start, end in spans), found


def test_none_of_the_requests_was_lost_of_which_the_readme_says_so() -> None:
    (number_of,) = re.findall(r"\*\*0 lost\*\* \| of (\d+) requests", shown("README.md"))
    assert BURST.startswith(f"{number_of} requests at once")
    assert ROWS[BURST]["how"].endswith("all answered")


@each("title, rows", TABLES.items())
def test_the_tables_of_the_race_are_what_was_measured(title: str, rows: dict[str, str]) -> None:
    page = (ROOT / RACE).read_text()
    table = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    head = next(row for row in table if row[0] == title)
    after = table[table.index(head) + 2 :][: len(rows)]
    assert [line for line, *_ in after] == list(rows)
    for (_, *cells), begins in zip(after, rows.values(), strict=True):
        for system, cell in zip(head[1:], cells, strict=True):
            name, _, configuration = system.partition(", ")
            what = re.compile(f"{begins}: {name}.*, {configuration}")
            found = [row for known, row in ROWS.items() if what.fullmatch(known)]
            if cell == "–":
                assert not found, f"{what.pattern} was measured"
                continue
            [row] = found
            said = f"{row['median']}; {row['spread']}; {row['ratio'] or 0:.3g}"
            assert all(part in said for part in cell.split(", ")), f"{cell}: {said}"
