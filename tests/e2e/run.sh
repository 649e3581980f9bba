#!/usr/bin/env bash
# The tests that need a real cluster: the throwaway node where this machine can have one, kind where
# there is one, and otherwise a line that says what was skipped and why. Leaves the cluster as it was.
# Arguments choose tests and options for pytest; without any, all of them run.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/.venv/bin

was_up=0
"$bin/kotatsu-node" status >/dev/null 2>&1 && was_up=1
kind get clusters 2>/dev/null | grep -qx kotatsu-demo && was_up=1

# Programs of other projects that tests run beside Kotatsu, before any test's time begins to count.
if [ "$#" = 0 ] && [ "$(uname -s)" = Linux ] && command -v go >/dev/null; then
  "$bin/kotatsu-node" prepare --peers || true
fi

if [ "$#" = 0 ] && [ "$was_up" = 0 ] && [ "$(id -u)" = 0 ] && [ "$(uname -s)" = Linux ]; then
  echo "· the life of the node itself"
  "$bin/pytest" -q -m node tests/node
fi

code=0
"$bin/python" -m kotatsu_demo images || code=$?
if [ "$code" = 2 ]; then
  echo "SKIPPED: every end-to-end test (tests/e2e), for the reason above"
  [ -z "${KOTATSU_SKIP_NOTHING:-}" ] # there, nothing may be skipped
  exit
elif [ "$code" != 0 ]; then
  exit "$code"
fi

if "$bin/kotatsu-node" status >/dev/null 2>&1; then
  eval "$("$bin/kotatsu-node" env)"
elif [ -f build/demo/kubeconfig ]; then
  export KUBECONFIG=$PWD/build/demo/kubeconfig
fi

# Sockets to pods that a test has killed are closed by the garbage collector, whenever that comes.
pytest=("$bin/pytest" -q -W "ignore::ResourceWarning"
  -W "ignore::pytest.PytestUnraisableExceptionWarning")

code=0
if [ "$#" = 0 ]; then
  # Most of them wait most of the time, each file in namespaces of its own.
  "${pytest[@]}" -m "e2e and not alone" -n 3 --dist loadfile --no-loadscope-reorder tests || code=$?
  "${pytest[@]}" -m "e2e and alone" tests || code=$?
else
  "${pytest[@]}" -m e2e "$@" || code=$?
fi
if [ "$was_up" = 0 ]; then
  "$bin/python" -m kotatsu_demo down
fi
exit "$code"
