import gc
import subprocess
import sys
import time

import pytest

from kotatsu_common.startup import age, quickly


def test_nobody_looks_for_garbage_while_a_service_starts() -> None:
    frozen = gc.get_freeze_count()
    try:
        with quickly():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.freeze()  # as tests/conftest.py does


OPENAPI = """
from kotatsu_common.startup import import_fastapi
import_fastapi()
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel
class Ours(BaseModel):
    name: str
print(OpenAPI.__pydantic_complete__, Ours.__pydantic_complete__)
print(FastAPI(title="t").openapi()["info"]["title"])
"""


@pytest.mark.slow
def test_validators_of_openapi_are_built_when_they_are_used() -> None:
    told = subprocess.run([sys.executable, "-c", OPENAPI], capture_output=True, check=True).stdout
    assert told.split() == [b"False", b"True", b"t"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: it tells when a process began")
def test_a_process_knows_its_age() -> None:
    began = time.monotonic()
    program = "from kotatsu_common.startup import age; print(age())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert 0 < float(told) <= time.monotonic() - began + 0.01
    assert age() > time.monotonic() - began
