"""No regular expression in what runs in the cluster can be made to work for long.

Every pattern of services and operator is found in their sources, so a new one is judged too. Its
steps are counted (trust/backtracking.py) on texts made to provoke it, once and once with twice the
length: twice the work is what it may be. A pattern that takes more stands below with the longest
text that it is ever given.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.backtracking import Counter

from kotatsu_common.logs import mask

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(ROOT / "services").glob("*/src"),
    ROOT / "operator/src",
    ROOT / "operator/plugin/src",
]
INLINE = {"sub", "match", "search", "fullmatch", "findall", "finditer", "split"}

BOUNDED: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {
    # A cron expression: the CRD's maxLength.
    ("kotatsu_operator.core.calendar.schedule", r"(\w+)-(\w+)/(\d+)"): (
        128,
        ("a", "a-", "a-a", "a-a/"),
    ),
    # A duration: the CRD's maxLength.
    ("kotatsu_operator.core.formats", "_PART"): (16, ("0", "1.5", "1h", "0.")),
    ("kotatsu_operator.core.formats", "_WHOLE"): (16, ("0", "1.5", "1h", "0.")),
    # The first bytes of a connection: peek cuts them off.
    ("kotatsu_operator.activator.head", "_METHOD"): (21, ("A", "A ", "GET ")),
    # A visitor's message: LONGEST_MESSAGE.
    ("kotatsu_voice.talk.guard", "_INJECTION"): (
        500,
        ("無視", "指示", "rules ", "\n"),
    ),
}
"""Patterns that take more than linear time: the most characters they are given, and what of."""


def patterns() -> Iterator[tuple[str, str, re.Pattern[str] | re.Pattern[bytes]]]:
    """(module, name or pattern, compiled) of each one in the sources."""
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            text = path.read_text()
            if not re.search(r"\bre\.", text) or "__main__" in path.name:
                continue
            name = ".".join(path.relative_to(source).with_suffix("").parts)
            module = importlib.import_module(name.removesuffix(".__init__"))
            for attribute, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    yield module.__name__, attribute, value
            for node in ast.walk(ast.parse(text)):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in INLINE
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id == "re"
                ):
                    assert isinstance(node.args[0], ast.Constant), f"{path}: a pattern made up"
                    pattern = str(node.args[0].value)
                    yield module.__name__, pattern, re.compile(pattern)


ALL = list(patterns())
ATOMS = (
    *"aA0あ何。、 \t\n\r=?.-/:~!'\"(<",
    *("a?", "?=", "a=", "a.", "1.", "1s", "1.5h", "a-a", "a-a/", "。」", "ab", "aab", "a-1", "[a:"),
    *("https://", "gho_", "authorization", "authorization: ", "x-goog-api-key=", "\r\n"),
    *("\nconnection: upgrade", "\nconnection:", "\ncontent-length: 1", "\ncontent-length: 1 "),
    *("GET ", "GET /", "GET / HTTP/1.1\r\n"),
)
PREFIXES = ("", "https://", "authorization: ", "\nconnection: ")
SUFFIXES = ("", "\x00")
LENGTH = 36


def steps(pattern: re.Pattern[str] | re.Pattern[bytes], text: str) -> int:
    given = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    return Counter(pattern, given).run()


def texts(length: int) -> Iterator[tuple[str, str, str, str]]:
    for atom in ATOMS:
        for prefix in PREFIXES:
            for suffix in SUFFIXES:
                repeated = (atom * length)[:length]
                yield atom, prefix, suffix, prefix + repeated + suffix


def test_they_are_found() -> None:
    assert len(ALL) > 20
    for key in BOUNDED:
        assert key in {(module, name) for module, name, _ in ALL}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "pattern"),
    [entry for entry in ALL if entry[:2] not in BOUNDED],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_twice_the_text_is_twice_the_work(
    module: str, name: str, pattern: re.Pattern[str] | re.Pattern[bytes]
) -> None:
    worst, culprit = 0.0, ""
    for (atom, prefix, suffix, short), (*_, long) in zip(
        texts(LENGTH), texts(2 * LENGTH), strict=True
    ):
        few = steps(pattern, short)
        if few < 4 * LENGTH:
            continue  # it gives up at once
        growth = steps(pattern, long) / few
        if growth > worst:
            worst, culprit = growth, f"{prefix!r} + {atom!r}… + {suffix!r}"
    assert worst < 2.5, f"{culprit}: {worst:.1f} times the work"


@pytest.mark.slow
@pytest.mark.parametrize("key", list(BOUNDED), ids=lambda key: key[1])
def test_what_takes_more_is_given_little(key: tuple[str, str]) -> None:
    [pattern] = [p for module, name, p in ALL if (module, name) == key]
    length, atoms = BOUNDED[key]
    for atom in atoms:
        assert steps(pattern, (atom * length)[:length]) < 1_000_000, atom


SIMPLE = st.text("ab 0.?=\n", max_size=30)


@given(SIMPLE)
def test_the_counter_finds_what_re_finds(text: str) -> None:
    for pattern in (
        r"a+b?",
        r"(a|b)*?0",
        r"(?<=a)\?[^\s=]+=\S*",
        r"^\s*b|0$",
        r"(\w{1,2}?)\1{2,}",
        r"a*+b",
        r"(?>a|ab)0?",
    ):
        compiled = re.compile(pattern, re.MULTILINE)
        counter = Counter(compiled, text)
        counter.run()
        assert [m.span() for m in compiled.finditer(text)] == counter.found


def test_the_counter_sees_a_blow_up() -> None:
    bad = re.compile(r"(?:a+)+b")
    assert steps(bad, "a" * 12) > 10 * steps(bad, "a" * 8)
    quadratic = re.compile(r"\?[^\s]+=")
    assert steps(quadratic, "?" * 200) > 3.5 * steps(quadratic, "?" * 100)


def test_a_long_path_is_masked_in_time() -> None:
    text = "GET /" + "a?" * 500_000  # it once took the square of this
    assert mask(text) == text
