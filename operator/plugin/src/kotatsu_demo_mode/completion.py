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

# Commands that take the names of pools.
_WITH_POOLS = ("on", "off", "status", "plan", "cost", "rehearse")


def run(options: Namespace, shell: Shell) -> int:
    """Print the script of one shell."""
    shell.terminal.say_as_is(_SCRIPTS[options.shell].rstrip())
    return 0


def candidates(
    words: Sequence[str],
    parser: argparse.ArgumentParser,
    pools: Callable[[Sequence[str]], list[str]],
) -> list[str]:
    """Candidates for the last word; `pools` returns names of pools for the words before it."""
    *before, last = words or [""]
    commands = _commands(parser)
    chosen = next((word for word in before if word in commands), "")
    here = commands[chosen] if chosen else parser
    value_of = _flag_of(here, before[-1]) if before else None
    if value_of is not None:
        found = [str(choice) for choice in value_of.choices or ()]
    elif last.startswith("-"):
        found = sorted(flag for action in here._actions for flag in action.option_strings)  # noqa: SLF001
    elif not chosen:
        found = list(commands)
    elif chosen in _WITH_POOLS:
        found = [name for name in pools(before) if name not in before]
    else:
        found = ["bash", "zsh", "fish"]
    return [word for word in found if word.startswith(last)]


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


def pool_names(words: Sequence[str], shell: Shell, parser: argparse.ArgumentParser) -> list[str]:
    """The pools of the namespace and cluster that the words name; empty after an error."""
    from .errors import DemoModeError
    from .pools import names

    try:
        options, _ = parser.parse_known_args([*words])
        with shell.api(options) as api:
            return names(api, shell.namespace(api, options))
    except (DemoModeError, SystemExit):
        return []


def answer(words: Sequence[str], shell: Shell) -> None:
    """Print the candidates, one per line, and kubectl's directive."""
    from .cli import parser

    made = parser()
    for word in candidates(words, made, lambda before: pool_names(before, shell, made)):
        shell.terminal.say(word)
    shell.terminal.say(f":{_NAMES_ONLY}")
