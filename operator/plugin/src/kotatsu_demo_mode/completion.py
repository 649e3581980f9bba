"""Shell completion: the candidates, and the scripts that request them."""

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence

from .shell import Shell

_NAMES_ONLY = 4
"""kubectl's directive against file names as a fallback."""

BASH = """\
_kubectl_demo_mode() {
  COMPREPLY=()
  while IFS= read -r word; do
    case $word in :*) ;; *) COMPREPLY+=("${word%%$'\\t'*}") ;; esac
  done < <(kubectl_complete-demo_mode "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _kubectl_demo_mode kubectl-demo_mode
"""
ZSH = """\
#compdef kubectl-demo_mode
_kubectl_demo_mode() {
  local -a found
  found=(${(f)"$(kubectl_complete-demo_mode "${(@)words[2,CURRENT]}" 2>/dev/null | grep -v '^:')"})
  compadd -a found
}
compdef _kubectl_demo_mode kubectl-demo_mode
"""
FISH = """\
complete -c kubectl-demo_mode -f -a '(kubectl_complete-demo_mode \
(commandline -opc)[2..-1] (commandline -ct) 2>/dev/null | string match -v ":*")'
"""
NOTE = """\
# For `kubectl-demo_mode`. For `kubectl demo-mode`, kubectl's own completion is sufficient: it runs
# kubectl_complete-demo_mode, which is installed with the plugin.
"""
_SCRIPTS = {"bash": NOTE + BASH, "zsh": ZSH + NOTE, "fish": NOTE + FISH}

_Names = Callable[[Sequence[str]], list[str]]
"""The names of objects, for the words before the last one."""


def run(options: Namespace, shell: Shell) -> int:
    shell.terminal.say_as_is(_SCRIPTS[options.shell].rstrip())
    return 0


def candidates(
    words: Sequence[str],
    parser: argparse.ArgumentParser,
    pools: _Names,
    windows: _Names = lambda _: [],
) -> list[str]:
    """Candidates for the last word; `pools` and `windows` return names from the cluster."""
    *before, last = words or [""]
    here, given = _reached(before, parser)
    commands = _commands(here)
    value_of = _flag_of(here, before[-1]) if before else None
    if value_of is not None:
        found = [str(choice) for choice in value_of.choices or ()]
    elif last.startswith("-"):
        found = sorted(flag for action in here._actions for flag in action.option_strings)  # noqa: SLF001
    elif commands:
        found = list(commands)
    else:
        wanted = _positional(here, len(given))
        is_new = wanted == "source" or here.prog.endswith(" add")
        if wanted in ("name", "source"):
            found = [] if is_new else windows(before)
        elif wanted == "pools":
            found = [name for name in pools(before) if name not in before]
        elif wanted == "workload":
            found = [f"warmpool/{name}" for name in pools(before)]
        else:
            found = ["bash", "zsh", "fish"] if wanted == "shell" else []
    return [word for word in found if word.startswith(last)]


def _reached(
    before: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of the command that the words name, and its positional arguments so far."""
    here, given = parser, list[str]()
    for previous, word in zip(["", *before], before, strict=False):
        commands = _commands(here)
        if word.startswith("-") or _flag_of(here, previous) is not None:
            continue
        if word in commands:
            here = commands[word]
        else:
            given.append(word)
    return here, given


def _positional(parser: argparse.ArgumentParser, index: int) -> str:
    """The name of the positional argument at an index; the last one repeats."""
    names = [action.dest for action in parser._actions if not action.option_strings]  # noqa: SLF001
    return names[min(index, len(names) - 1)] if names else ""


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001  (argparse has no other way to ask)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _flag_of(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    """The flag before its value."""
    for action in parser._actions:  # noqa: SLF001
        if word in action.option_strings and action.nargs is None:
            return action
    return None


def names(words: Sequence[str], shell: Shell, *, windows: bool = False) -> list[str]:
    """The pools, or their windows, of the namespace and cluster that the words name.

    Empty after an error.
    """
    from . import pools
    from .cli import Parser
    from .errors import DemoModeError

    # Not the parser of the command: its arguments are not complete yet.
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.common(top=True)
    try:
        options, _ = parser.parse_known_args([*words])
        with shell.api(options) as api:
            read = pools.window_names if windows else pools.names
            return read(api, shell.namespace(api, options))
    except (DemoModeError, SystemExit):
        return []


def answer(words: Sequence[str], shell: Shell) -> None:
    """Print the candidates, one per line, and kubectl's directive."""
    from .cli import parser

    found = candidates(
        words,
        parser(),
        lambda before: names(before, shell),
        lambda before: names(before, shell, windows=True),
    )
    for word in found:
        shell.terminal.say(word)
    shell.terminal.say(f":{_NAMES_ONLY}")
