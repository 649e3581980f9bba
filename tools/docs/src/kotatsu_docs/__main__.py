"""kotatsu-docs: write the generated pages or the pages of the site, or speak the samples."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from . import readings, site, warmpool

ROOT = Path(__file__).resolve().parents[4]
CRD = "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml"


def files() -> Mapping[Path, str]:
    """The generated pages: path in the checkout, text."""
    return {
        Path("docs/reference/warmpool.md"): warmpool.reference(
            yaml.safe_load((ROOT / CRD).read_text())
        )
    }


def stale(root: Path = ROOT) -> dict[Path, str]:
    """The pages whose text is not what would be generated now."""
    return {
        path: text
        for path, text in files().items()
        if not (root / path).exists() or (root / path).read_text() != text
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages that are out of date, prepare the site, or speak the samples."""
    parser = argparse.ArgumentParser(prog="kotatsu-docs", description=__doc__)
    verbs = parser.add_subparsers(required=True, dest="verb")
    verbs.add_parser("pages", help="write docs/reference/warmpool.md")
    prepare = verbs.add_parser("site", help="write the pages of the site into a folder")
    prepare.add_argument("folder", type=Path)
    prepare.add_argument("--url", required=True, help="where a file of the repository is shown")
    speak = verbs.add_parser("readings", help="speak the samples of docs/pet/readings.md")
    speak.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    if given.verb == "pages":
        for path, text in stale().items():
            (ROOT / path).write_text(text)
            print(f"wrote {path}")
    elif given.verb == "readings":
        for path, sample in readings.write(ROOT, given.folder):
            print(f"{path} {sample.text} → {sample.now}")
    else:
        number = site.write(ROOT, given.folder, given.url.rstrip("/"))
        print(f"· {number} pages in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
