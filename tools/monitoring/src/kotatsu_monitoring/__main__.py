"""kotatsu-monitoring: write the dashboards, or check them."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from .dashboards import dashboards

ROOT = Path(__file__).resolve().parents[4]


def files() -> Mapping[Path, str]:
    """Everything that is made from the code: path in the checkout, text."""
    encoder = JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False)
    return {
        Path("charts/kotatsu/dashboards") / f"{name}.json": encoder.encode(built.build()) + "\n"
        for name, built in dashboards().items()
    }


def stale(root: Path = ROOT) -> dict[Path, str]:
    """What the files should say that don't say what the code says."""
    return {
        path: text
        for path, text in files().items()
        if not (root / path).exists() or (root / path).read_text() != text
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write them; with --check only tell which are out of date."""
    parser = argparse.ArgumentParser(
        prog="kotatsu-monitoring",
        description="Writes the dashboards.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    checking = parser.parse_args(arguments).check
    old = stale()
    for path, text in old.items():
        if checking:
            print(f"{path} is out of date: make monitoring", file=sys.stderr)
        else:
            (ROOT / path).write_text(text)
            print(f"wrote {path}")
    return 1 if checking and old else 0


if __name__ == "__main__":
    sys.exit(main())
