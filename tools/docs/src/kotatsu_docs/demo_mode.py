"""docs/reference/demo-mode.md: the commands of the kubectl plugin, from its own help texts."""

import inspect
import re
from argparse import Action
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kotatsu_demo_mode.cli import Parser

from .markdown import cell, line, row

_REASON = re.compile(r"\b(?:warning|note|Refusal)\(\s*\"(\w+)\"")
_REFUSES = re.compile(r"\brefused\(\s*(?!\s|Refusal)")
_REFUSALS = "[refused pools](conditions.md#refused-pools)"
_CHOICE = ("pools", "selector", "everything", "all_namespaces", "output")
"""What most commands have; it stands below what is a command's own."""
_HOW_TO = {
    **dict.fromkeys(("on", "off", "rehearse"), "how-to/demo.md"),
    **dict.fromkeys(("window add", "window list", "window remove"), "how-to/window.md"),
    "window import": "how-to/calendars.md",
    "check": "how-to/check-your-app.md",
    **dict.fromkeys(("create", "suggest"), "how-to/settings.md"),
    **dict.fromkeys(("plan", "cost", "report"), "how-to/budgets.md"),
    "restore": "how-to/uninstall.md",
}
"""The page that shows a command in use."""


def body(
    top: Parser,
    details: Mapping[str, str],
    examples: Mapping[str, str],
    checks: Sequence[Callable[..., object]],
) -> str:
    """The page below its head. `checks` are the functions that `check` runs, in their order."""
    lines = [line(top.description or ""), "", details[""], "", "## Flags of all commands", ""]
    common = {action.dest for action in _flags(top)}
    lines += [*_table(_flags(top)), "", "Every command has `--help`.", ""]
    for name, command in commands(top):
        lines += [f"## {name}", "", line(command.description or ""), ""]
        more = f" ([how to](../{_HOW_TO[name]}))" if name in _HOW_TO else ""
        lines += [f"Usage: `{usage(name, command)}`{more}", ""]
        own = [action for action in _arguments(command) if action.dest not in common]
        flags = sorted(own, key=lambda action: action.dest in _CHOICE)
        lines += [*_table(flags), ""] if flags else []
        lines += [details[name], ""] if name in details else []
        if name == "check":
            lines += ["| check | says | reasons |", "|---|---|---|"]
            lines += [row(*_check(check)) for check in checks]
            lines.append("")
        lines += ["```", *map(str.strip, examples[name].splitlines()), "```", ""]
    return "\n".join(lines)


def commands(parser: Parser, of: str = "") -> Iterator[tuple[str, Parser]]:
    """Each command that does something, like `window add`, with its parser."""
    if not parser.commands:
        yield of, parser
    for name, made in parser.commands.items():
        yield from commands(made, f"{of} {name}".strip())


def usage(name: str, command: Parser) -> str:
    """A command with its arguments, and the flags that it needs."""
    words = [name]
    for action in _arguments(command):
        if not action.option_strings:
            shown = _shown(action)
            words.append({"*": f"[{shown} …]", "?": f"[{shown}]"}.get(str(action.nargs), shown))
    for group in command._mutually_exclusive_groups:  # noqa: SLF001
        if group.required:
            names = (_name(action) for action in group._group_actions)  # noqa: SLF001
            words.append(f"({' | '.join(names)})")
    return f"{' '.join(words)} [flags]"


def _arguments(command: Parser) -> list[Action]:
    return [action for action in command.arguments if action.dest != "help"]


def _flags(command: Parser) -> list[Action]:
    return [action for action in _arguments(command) if action.option_strings]


def _table(actions: Sequence[Action]) -> list[str]:
    rows = [row(f"`{_name(a)}`", cell(a.help or "")) for a in actions]
    return ["| argument or flag | |", "|---|---|", *rows]


def _name(action: Action) -> str:
    names = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else _shown(action)
    value = f"[={value}]" if action.nargs == "?" and names else f" {value}".rstrip()
    return f"{names}{value}".strip()


def _shown(action: Action) -> str:
    choices = ",".join(map(str, action.choices or ()))
    return str(action.metavar or (f"{{{choices}}}" if choices else action.dest.upper()))


def _check(check: Callable[..., object]) -> tuple[str, str, str]:
    """Its name, what it says, and its reasons; those of the operator stand on another page."""
    source = "".join(map(inspect.getsource, _with_called([check])))
    reasons = [f"`{reason}`" for reason in sorted(set(_REASON.findall(source)))]
    reasons = [_REFUSALS, *reasons] if _REFUSES.search(source) else reasons
    return f"`{check.__name__}`", line(inspect.getdoc(check) or ""), ", ".join(reasons)


def _with_called(found: list[Any]) -> list[Any]:
    """The function of a check, and the private ones of its module that it calls."""
    for function in found:  # which grows meanwhile
        names = (name for name in function.__code__.co_names if name.startswith("_"))
        called = map(function.__globals__.get, names)
        found += [f for f in called if inspect.isfunction(f) and f not in found]
    return found
