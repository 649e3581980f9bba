"""A regular expression's work counted in steps, as Python's own engine would do it.

`re` tells no steps, and seconds depend on the machine. So this walks the parse tree that `re`
makes, tries the same alternatives in the same order, and counts each attempt. It knows what our
patterns use, and refuses a pattern with anything else.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from re import _constants as c
from re import _parser as parser
from typing import Any

sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))

Groups = tuple[tuple[int, tuple[int, int]], ...]
Repeat = tuple[Any, int, int, list[Any]]
"""Its kind, the least and the most times, and what is repeated."""
_ONE = (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN)


class TooManyStepsError(Exception):
    """More than the budget."""


class Counter:
    """Counts the steps of `re.finditer(pattern, text)`."""

    def __init__(self, pattern: re.Pattern[Any], text: Any, budget: int = 2_000_000) -> None:
        self._tree = list(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
        self._flags = pattern.flags
        self._text = text.decode("latin-1") if isinstance(text, bytes) else text
        self._budget = budget
        self.steps = 0
        self.found: list[tuple[int, int]] = []
        """Where it matched."""

    def run(self) -> int:
        """Find every match; returns the steps it took."""
        position = 0
        while position <= len(self._text):
            end = next((e for e, _ in self._sequence(self._tree, 0, position, ())), None)
            if end is None:
                position += 1
                continue
            self.found.append((position, end))
            position = end if end > position else position + 1
        return self.steps

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self._budget:
            raise TooManyStepsError(f"more than {self._budget} steps")

    def _sequence(
        self, nodes: list[Any], index: int, at: int, groups: Groups
    ) -> Iterator[tuple[int, Groups]]:
        if index == len(nodes):
            yield at, groups
            return
        for end, known in self._node(nodes[index], at, groups):
            yield from self._sequence(nodes, index + 1, end, known)

    def _node(self, node: Any, at: int, groups: Groups) -> Iterator[tuple[int, Groups]]:
        self._step()
        kind, value = node
        if kind in _ONE:
            if at < len(self._text) and self._is_one(kind, value, self._text[at]):
                yield at + 1, groups
        elif kind is c.AT:
            if self._is_at(value, at):
                yield at, groups
        elif kind is c.BRANCH:
            for branch in value[1]:
                yield from self._sequence(list(branch), 0, at, groups)
        elif kind is c.SUBPATTERN:
            number, _, _, inner = value
            for end, known in self._sequence(list(inner), 0, at, groups):
                yield end, known if number is None else (*known, (number, (at, end)))
        elif kind in (c.MAX_REPEAT, c.MIN_REPEAT):
            least, most, inner = value
            yield from self._repeat(kind, least, int(most), list(inner), at, groups)
        elif kind is c.POSSESSIVE_REPEAT:  # what it has taken it never gives back
            least, most, inner = value
            taken = self._repeat(c.MAX_REPEAT, least, int(most), list(inner), at, groups)
            yield from itertools.islice(taken, 1)
        elif kind is c.ATOMIC_GROUP:
            yield from itertools.islice(self._sequence(list(value), 0, at, groups), 1)
        elif kind is c.GROUPREF:
            start, end = dict(groups)[value]
            same = self._text[start:end]
            if self._text.startswith(same, at):
                yield at + len(same), groups
        elif kind in (c.ASSERT, c.ASSERT_NOT):
            direction, inner = value
            if self._looks(list(inner), direction, at) is (kind is c.ASSERT):
                yield at, groups
        else:
            raise NotImplementedError(f"{kind} is not known here")

    def _repeat(
        self, kind: Any, least: int, most: int, inner: list[Any], at: int, groups: Groups
    ) -> Iterator[tuple[int, Groups]]:
        if len(inner) == 1 and inner[0][0] in _ONE:
            yield from ((end, groups) for end in self._run_of_one(kind, least, most, inner[0], at))
            return
        yield from self._repeat_group((kind, least, most, inner), at, groups, 0)

    def _run_of_one(self, kind: Any, least: int, most: int, node: Any, at: int) -> Iterator[int]:
        def fits(end: int) -> bool:
            self._step()
            return end < len(self._text) and self._is_one(*node, self._text[end])

        end = at
        if kind is c.MIN_REPEAT:
            while True:
                if end - at >= least:
                    yield end
                if end - at >= most or not fits(end):
                    return
                end += 1
        while end - at < most and fits(end):
            end += 1
        while end - at >= least:
            self._step()
            yield end
            end -= 1

    def _repeat_group(
        self, repeat: Repeat, at: int, groups: Groups, done: int
    ) -> Iterator[tuple[int, Groups]]:
        kind, least, most, inner = repeat
        self._step()
        if kind is c.MIN_REPEAT and done >= least:
            yield at, groups
        if done < most:
            for end, known in self._sequence(inner, 0, at, groups):
                if end > at:
                    yield from self._repeat_group(repeat, end, known, done + 1)
        if kind is c.MAX_REPEAT and done >= least:
            yield at, groups

    def _looks(self, inner: list[Any], direction: int, at: int) -> bool:
        if direction > 0:
            return any(True for _ in self._sequence(inner, 0, at, ()))
        width = parser.SubPattern(parser.State(), inner).getwidth()[0]
        start = at - width
        return start >= 0 and any(end == at for end, _ in self._sequence(inner, 0, start, ()))

    def _is_one(self, kind: Any, value: Any, character: str) -> bool:
        if kind is c.ANY:
            return character != "\n" or bool(self._flags & re.DOTALL)
        if kind is c.IN:
            return self._is_in(value, character)
        same = self._folded(character) == self._folded(chr(value))
        return same if kind is c.LITERAL else not same

    def _is_in(self, members: list[Any], character: str) -> bool:
        negated = members[0][0] is c.NEGATE
        options = {character, character.lower(), character.upper()}
        tried = options if self._flags & re.IGNORECASE else {character}
        hit = any(self._is_member(*m, one) for m in members[negated:] for one in tried)
        return hit is not negated

    def _is_member(self, kind: Any, value: Any, character: str) -> bool:
        if kind is c.LITERAL:
            return character == chr(value)
        if kind is c.RANGE:
            return len(character) == 1 and value[0] <= ord(character) <= value[1]
        if kind is c.CATEGORY:
            return re.match(_CATEGORIES[value], character) is not None
        raise NotImplementedError(f"{kind} is not known here")

    def _folded(self, character: str) -> str:
        return character.lower() if self._flags & re.IGNORECASE else character

    def _is_at(self, where: Any, at: int) -> bool:
        text, multiline = self._text, bool(self._flags & re.MULTILINE)
        if where is c.AT_BEGINNING:
            return at == 0 or (multiline and text[at - 1] == "\n")
        if where is c.AT_END:
            last = at == len(text) or (at == len(text) - 1 and text[at] == "\n")
            return last or (multiline and text[at] == "\n")
        if where is c.AT_BOUNDARY:
            before = at > 0 and re.match(r"\w", text[at - 1]) is not None
            after = at < len(text) and re.match(r"\w", text[at]) is not None
            return before is not after
        raise NotImplementedError(f"{where} is not known here")


_CATEGORIES = {
    c.CATEGORY_DIGIT: r"\d",
    c.CATEGORY_NOT_DIGIT: r"\D",
    c.CATEGORY_SPACE: r"\s",
    c.CATEGORY_NOT_SPACE: r"\S",
    c.CATEGORY_WORD: r"\w",
    c.CATEGORY_NOT_WORD: r"\W",
}
