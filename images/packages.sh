#!/bin/sh
# Installs the packages of a lock into /opt/venv, for a Dockerfile: nothing that is not in it, nothing
# that would have to be built first. Left out: their tests, what only a debugger reads, and pydantic.v1,
# which FastAPI imports where it is there, only to tell that no model of ours is one of its.
set -eu
python3 -m venv /opt/venv
/opt/venv/bin/pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
  --require-hashes --no-deps --only-binary :all: -r "$1"
find /opt/venv/lib -depth -type d \( -name tests -o -path '*/pydantic/v1' \) -exec rm -r {} +
/opt/venv/bin/python3 "$(dirname "$0")/strip.py" /opt/venv/lib
