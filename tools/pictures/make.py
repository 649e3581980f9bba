"""Make the pictures of the pages again, each from a real run.

`make pictures PICTURES="terminal pet"` makes these, `make pictures` all. Terminal, console and
dashboard need a cluster. Console and dashboard are made together.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shown import IMAGES, ROOT, SOURCES, note

sys.path += [str(ROOT / "tests"), str(ROOT)]  # as pytest has them
OF_A_DAY = ("console.png", "console-phone.png", "dashboard.svg")
"""What is made together, of the same minutes."""
ON_A_CLUSTER = ("terminal.svg", *OF_A_DAY)
MOST = {".png": 120_000, ".svg": 150_000}
"""Bytes of a picture at most: a page loads it before a reader has read a line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make pictures; the exit code."""
    known = {Path(picture).stem: picture for picture in SOURCES}
    parser = argparse.ArgumentParser(prog="make pictures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PICTURE", help=f"of {', '.join(known)}")
    names = parser.parse_args(arguments).names or list(known)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"there is no picture {unknown[0]}; there are {', '.join(known)}")
    pictures = [known[name] for name in known if name in names]
    for picture in pictures:
        if picture not in ON_A_CLUSTER:
            _shot(picture)
    if wanted := [picture for picture in pictures if picture in ON_A_CLUSTER]:
        import clusters

        with clusters.running():
            if "terminal.svg" in wanted:
                _recorded(clusters.version())
            if set(wanted) & set(OF_A_DAY):
                import day

                day.pictures(IMAGES)
                for picture in OF_A_DAY:
                    _done(picture)
    return 0


def _shot(picture: str) -> None:
    import browsing

    browsing.take(picture, IMAGES / picture)
    _done(picture)


def _recorded(kubernetes: str) -> None:
    import film
    import recording
    import session

    title = f"A real session on Kubernetes {kubernetes}"
    lines = session.COMMANDS.read_text().splitlines()
    recording.write(session.record(title, lines), film.CAST)
    film.FILM.write_text(film.draw(recording.read(film.CAST)))
    _done("terminal.svg")


def _done(picture: str) -> None:
    path = IMAGES / picture
    size = path.stat().st_size
    if size > MOST[path.suffix]:
        raise SystemExit(f"{path} has {size:,} bytes, more than {MOST[path.suffix]:,}: show less")
    note(picture)
    print(f"· {path.relative_to(ROOT)}: {size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
