#!/bin/sh
# Puts our own packages from /src/own into /opt/venv, for a Dockerfile, and makes the commands of the
# project in /src/pyproject.toml. They are pure Python: a copy is an installation, and needs no build tool.
set -eu
python=/opt/venv/bin/python3
cp -r /src/own/. "$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
$python /src/commands.py /src/pyproject.toml /opt/venv/bin
# Nothing is installed any more. pip goes last: it takes the other away.
for name in setuptools pip; do
  $python -m pip uninstall --quiet --yes $name 2> /dev/null || true
done
# Never checked against the sources: nobody edits them in an image, and a start reads less.
$python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
