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
    here, given, flag = parser, 0, None
    for word in before:
        if flag is not None:
            flag = None  # the word is its value
        elif word.startswith("-"):
            flag = next((a for a in _actions(here, word) if a.nargs is None), None)
        elif word in (commands := _commands(here)):
            here = commands[word]
        else:
            given += 1
    wanted = [action.dest for action in here._actions if not action.option_strings]  # noqa: SLF001
    name = wanted[min(given, len(wanted) - 1)] if wanted else ""
    if flag is not None:
        found = [str(choice) for choice in flag.choices or ()]
    elif last.startswith("-"):
        found = sorted(option for action in _actions(here) for option in action.option_strings)
    elif commands := _commands(here):
        found = list(commands)
    elif name == "name" and not here.prog.endswith(" add"):
        found = windows(before)
    elif name == "pools":
        found = [pool for pool in pools(before) if pool not in before]
    elif name == "workload":
        found = [f"warmpool/{pool}" for pool in pools(before)]
    else:
        found = [*_SCRIPTS] if name == "shell" else []
    return [word for word in found if word.startswith(last)]


def _actions(parser: argparse.ArgumentParser, word: str = "") -> list[argparse.Action]:
    """The arguments of a command; argparse has no other way to ask."""
    return [a for a in parser._actions if not word or word in a.option_strings]  # noqa: SLF001


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (a for a in _actions(parser) if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001
    return next((dict(action.choices) for action in found), {})


def answer(words: Sequence[str], shell: Shell) -> None:
    """Print the candidates, one per line, and kubectl's directive."""
    from .cli import parser

    for word in candidates(
        words,
        parser(),
        lambda before: names(before, shell),
        lambda before: names(before, shell, windows=True),
    ):
        shell.terminal.say(word)
    shell.terminal.say(f":{_NAMES_ONLY}")


def names(words: Sequence[str], shell: Shell, *, windows: bool = False) -> list[str]:
    """The pools, or their windows, of the namespace and cluster that the words name.

    Empty after an error.
    """
    from .cli import Parser
    from .errors import DemoModeError
    from .pools import names

    # Not the parser of the command: its arguments are not complete yet.
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.common(top=True)
    try:
        options, _ = parser.parse_known_args([*words])
        with shell.api(options) as api:
            return names(api, shell.namespace(api, options), windows=windows)
    except (DemoModeError, SystemExit):
        return []
