"""Make the commands of a project in an image: `python3 commands.py PYPROJECT FOLDER`.

Each is one of the project's scripts. `serve` is the first: what a container runs by default.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

_COMMAND = """\
#!{python}
from {module} import {function}

{function}()
"""


def commands(project: str, python: str) -> dict[str, str]:
    """The name and the text of each command of a pyproject.toml."""
    scripts = tomllib.loads(project)["project"]["scripts"]
    made = {}
    for name, entry in scripts.items():
        module, _, function = entry.partition(":")
        made[name] = _COMMAND.format(python=python, module=module, function=function)
    return {**made, "serve": next(iter(made.values()))}


def main(project: Path, folder: Path) -> None:
    """Write the commands of a project to a folder, and run each for its help."""
    for name, text in commands(project.read_text(), sys.executable).items():
        file = folder / name
        file.write_text(text)
        file.chmod(0o755)
        subprocess.run([file, "-h"], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
