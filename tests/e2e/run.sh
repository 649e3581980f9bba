#!/usr/bin/env bash
# The end-to-end tests, on the cluster that `make demo` uses (CONTEXT names another one). Where there
# can be none, it says why. Leaves the cluster as it was.
#
#   run.sh             the end-to-end tests that are not nightly
#   run.sh --nightly   all of them, and the life of the throwaway node
#   run.sh ARGUMENTS   those that these arguments of pytest choose
#   run.sh --if-up     as without arguments, and nothing where that cluster is not up
#
# A test that fails runs once more by itself. If it passes then, it is reported as flaky.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$(cd "${VENV:-.venv}/bin" && pwd)
demo=("$bin/python" -m kotatsu_demo)
nightly=0 if_up=0
case "${1:-}" in
  --nightly) nightly=1; shift ;;
  --if-up) if_up=1; shift ;;
esac

was_up=0
"${demo[@]}" env >/dev/null 2>&1 && was_up=1
if [ "$if_up" = 1 ] && [ "$was_up" = 0 ]; then
  left="the end-to-end tests (no cluster is up: \`make demo\` makes one)"
  echo "SKIPPED: $left"
  echo "$left" >> "${KOTATSU_LEFT_OUT:-/dev/null}"
  [ -z "${KOTATSU_SKIP_NOTHING:-}" ] # there, nothing may be skipped
  exit
fi

if [ "$nightly" = 1 ]; then
  # Programs of other projects that tests run beside Kotatsu, before any test's time begins to count.
  "$bin/kotatsu-node" prepare --peers || true
  if [ "$was_up" = 0 ] && [ "$(id -u)" = 0 ] && [ "$(uname -s)" = Linux ]; then
    echo "· the life of the node itself"
    "$bin/pytest" -q -m node tests/node
  else
    echo "SKIPPED: the life of the throwaway node (tests/node): it needs root on Linux, and a node that is down"
  fi
fi

code=0
"${demo[@]}" images --own || code=$?
if [ "$code" = 2 ]; then
  echo "SKIPPED: every end-to-end test (tests/e2e), for the reason above"
  [ -z "${KOTATSU_SKIP_NOTHING:-}" ] # there, nothing may be skipped
  exit
elif [ "$code" != 0 ]; then
  exit "$code"
fi

eval "$("${demo[@]}" env)"
# Where this machine can't have routes, a test that needs them says so, and fails in CI.
trap '"${demo[@]}" reach --end' EXIT
"${demo[@]}" reach || echo "SKIPPED: every test that sends a request from here, for the reason above"

# Sockets to pods that a test has killed are closed by the garbage collector, whenever that comes.
pytest=("$bin/pytest" -q -W "ignore::ResourceWarning"
  -W "ignore::pytest.PytestUnraisableExceptionWarning")
folders=(tests/e2e tests/apps)
flaky=""
# What failed in a former run is not this one's.
rm -f .pytest_cache/v/cache/lastfailed

# Runs tests; those that fail once more, one by one.
run() {
  "${pytest[@]}" "$@" && return
  [ $? = 1 ] || return 1 # no test failed: something else did
  echo "· once more, by themselves: what failed"
  "${pytest[@]}" --last-failed --last-failed-no-failures=none -m e2e "${folders[@]}" || return 1
  flaky=yes
}

code=0
if [ "$#" = 0 ]; then
  chosen="e2e and not nightly"
  [ "$nightly" = 0 ] || chosen=e2e
  # Most of them wait most of the time, each file in namespaces of its own (see conftest.py).
  run -m "$chosen and not alone" -n 4 --no-loadscope-reorder "${folders[@]}" || code=1
  run -m "$chosen and alone" "${folders[@]}" || code=1
else
  run -m e2e "$@" || code=1
fi
if [ "$was_up" = 0 ]; then
  "${demo[@]}" down
fi
if [ -n "$flaky" ]; then
  echo "FLAKY: the tests that failed above passed when they ran again by themselves. Look for the reason."
fi
exit "$code"
