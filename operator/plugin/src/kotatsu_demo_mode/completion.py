"""Shell completion: the candidates, and the scripts that request them."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .errors import DemoModeError
from .shell import Shell

if TYPE_CHECKING:
    from .cli import Parser

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


def run(options: Namespace, shell: Shell) -> int:
    shell.terminal.say_as_is(_SCRIPTS[options.shell].rstrip())
    return 0


def candidates(
    words: Sequence[str], parser: "Parser", names: Callable[..., list[str]]
) -> list[str]:
    """Candidates for the last word; those of the cluster are `names` for the words before it."""
    *before, last = words or [""]
    here, given, flag = parser, 0, None
    for word in before:
        if flag is not None:
            flag = None  # the word is its value
        elif word.startswith("-"):
            known = (a for a in here.arguments if word in a.option_strings and a.nargs is None)
            flag = next(known, None)
        elif word in here.commands:
            here = here.commands[word]
        else:
            given += 1
    wanted = [argument for argument in here.arguments if not argument.option_strings]
    asked = flag or (wanted[min(given, len(wanted) - 1)] if wanted else None)
    found: Sequence[str] = []
    if flag is None and last.startswith("-"):
        found = sorted(option for argument in here.arguments for option in argument.option_strings)
    elif flag is None and here.commands:
        found = list(here.commands)
    elif asked is not None and asked.choices:
        found = [*map(str, asked.choices)]
    elif flag is not None or asked is None:
        pass
    elif asked.dest == "name" and not here.prog.endswith(" add"):
        found = names(before, windows=True)
    elif asked.dest == "pools":
        found = [pool for pool in names(before) if pool not in before]
    elif asked.dest == "workload":
        found = [f"warmpool/{pool}" for pool in names(before)]
    return [word for word in found if word.startswith(last)]


def answer(words: Sequence[str], shell: Shell) -> None:
    """Print the candidates, one per line, and kubectl's directive."""
    from .cli import parser

    for word in candidates(words, parser(), partial(names, shell=shell)):
        shell.terminal.say(word)
    shell.terminal.say(f":{_NAMES_ONLY}")


def names(words: Sequence[str], shell: Shell, *, windows: bool = False) -> list[str]:
    """The pools, or their windows, of the namespace and cluster that the words name.

    Empty after an error.
    """
    from .cli import Parser
    from .pools import names

    # Not the parser of the command: its arguments are not complete yet.
    parser = Parser(add_help=False)
    parser.common(top=True)
    try:
        options, _ = parser.parse_known_args([*words])
        with shell.api(options) as api:
            return names(api, shell.namespace(api, options), windows=windows)
    except (DemoModeError, SystemExit):
        return []
