#!/usr/bin/env bash
# Run a command many times, and count how often it fails:
#
#   tests/repeat.sh 10 make test
#   BUSY=1 tests/repeat.sh 3 make test     beside a loop on each core that does nothing else
#
# Each run is a line of build/runs.tsv: command, commit, seconds, load, exit code, log. Runs of the
# same command that are there already count, so a series that was stopped goes on; also on a later
# commit. Remove the file to begin anew.
# A run fails if its command does, or if a test passed only at its second try (FLAKY).
# Exit codes: 0 no run failed, 1 some did, 2 bad arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ ! "${1:-}" =~ ^[0-9]+$ ]] || [ "$#" -lt 2 ]; then
  sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0"
  exit 2
fi
wanted=$1
shift
series="${BUSY:+beside a busy loop: }$*"
record=build/runs.tsv
mkdir -p build/runs
touch "$record"

busy=()
trap '[ "${#busy[@]}" = 0 ] || kill "${busy[@]}"' EXIT
if [ -n "${BUSY:-}" ]; then
  for _ in $(seq "$(nproc)"); do
    (while :; do :; done) &
    busy+=("$!")
  done
fi

done=$(cut -f1 "$record" | grep -cxF -- "$series" || true)
while [ "$done" -lt "$wanted" ]; do
  done=$((done + 1))
  log=build/runs/$(date +%m%d-%H%M%S).log
  echo "· run $done of $wanted ($log)"
  commit=$(git rev-parse --short HEAD)
  [ -z "$(git status --porcelain)" ] || commit+=-changed
  began=$SECONDS code=0
  "$@" > "$log" 2>&1 || code=$?
  if grep -q '^FLAKY' "$log"; then code=flaky; fi
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' \
    "$series" "$commit" $((SECONDS - began)) "$(cut -d' ' -f1 /proc/loadavg)" "$code" "$log" >> "$record"
done
series=$series awk -F'\t' '
  $1 != ENVIRON["series"] { next }
  { printf "%s %6d s  load %5s  %s%s\n", $2, $3, $4, $5 == "0" ? "passed" : "FAILED: ", $5 == "0" ? "" : $6
    sum += $3; bad += $5 != "0"; runs += 1 }
  END { printf "%d runs, %d failed, %d s each on average\n", runs, bad, sum / runs; exit bad > 0 }' "$record"
