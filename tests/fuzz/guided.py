"""Fuzzing that keeps what reaches new code, by atheris (not a dependency: pip install atheris).

    .venv/bin/python tests/fuzz/guided.py cron -max_total_time=600

Arguments after the target are libFuzzer's. What it keeps is of Hypothesis' making and of no use in
corpus/; what fails is printed as a file there has it.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

MODULES = (
    "kotatsu_operator", "kotatsu_common", "kotatsu_feed.api", "kotatsu_voice.text",
    "kotatsu_voice.routes", "kotatsu_voice.accept",
    "kotatsu_demo_mode.words", "cronsim", "prometheus_client.parser", "email._parseaddr",
)  # fmt: skip


def main() -> None:
    """Fuzz one target until libFuzzer's limits or a failure."""
    sys.path.append(str(Path(__file__).parents[1]))
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(MODULES)):
        test_fuzz = importlib.import_module("fuzz.test_fuzz")
    from hypothesis import given

    target = test_fuzz.TARGETS[sys.argv.pop(1)]
    test = given(target.inputs)(test_fuzz.checked(target))
    atheris.Setup(sys.argv, lambda data: test.hypothesis.fuzz_one_input(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
