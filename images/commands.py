"""What an installer would make of a project in an image: `python3 commands.py PYPROJECT FOLDER`.

Its commands, each one of the project's scripts: `serve` is the first, what a container runs by
default. And its entry points, beside the packages.
"""

import subprocess
import sys
import sysconfig
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


def metadata(project: str) -> dict[str, str]:
    """The folder, and its files, by which Python finds the entry points of a pyproject.toml."""
    described = tomllib.loads(project)["project"]
    name, version = described["name"], described["version"]
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = []
    for group, points in described.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{point} = {named}" for point, named in points.items())]
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return {f"{folder}/METADATA": head, f"{folder}/entry_points.txt": "\n".join(lines) + "\n"}


def main(project: Path, folder: Path) -> None:
    """Write the commands of a project to a folder, and run each for its help."""
    for path, text in metadata(project.read_text()).items():
        file = Path(sysconfig.get_path("purelib")) / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    for name, text in commands(project.read_text(), sys.executable).items():
        file = folder / name
        file.write_text(text)
        file.chmod(0o755)
        subprocess.run([file, "-h"], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
