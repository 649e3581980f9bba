#!/bin/sh
# Installs the packages of a lock into /opt/venv, for a Dockerfile: nothing that is not in it, nothing
# that would have to be built first. Their tests stay out, and what only a debugger reads.
set -eu
python3 -m venv /opt/venv
/opt/venv/bin/pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
  --require-hashes --no-deps --only-binary :all: -r "$1"
find /opt/venv/lib -depth -type d -name tests -exec rm -r {} +
/opt/venv/bin/python3 "$(dirname "$0")/strip.py" /opt/venv/lib
