"""Libraries in the images carry nothing that only a debugger reads, and still load."""

import shutil
import subprocess
import sys
from pathlib import Path

import uvloop.loop

import strip

LIBRARY = Path(uvloop.loop.__file__)


def test_a_stripped_library_is_smaller_and_still_works(tmp_path):
    copy = shutil.copytree(LIBRARY.parent, tmp_path / "uvloop")
    strip.main(tmp_path)
    assert (copy / LIBRARY.name).stat().st_size < LIBRARY.stat().st_size / 2
    said = "import uvloop, asyncio; uvloop.run(asyncio.sleep(0)); print(uvloop.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", said], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(copy / "__init__.py")


def test_what_is_no_library_stays_as_it_is(tmp_path):
    script = tmp_path / "libc.so"
    script.write_text("GROUP ( libc.so.6 )")
    strip.main(tmp_path)
    assert script.read_text() == "GROUP ( libc.so.6 )"
