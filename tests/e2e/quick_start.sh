#!/usr/bin/env bash
# The tutorials as they are written, each command of both, from `kind create cluster` on (unless there is such
# a cluster). What does not end by itself is ended where the page says so. At the end Kotatsu is uninstalled
# and its app runs. For a cluster that is thrown away, which the script does not delete.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t commands < <(awk '/^```/ {inside = $0 == "```sh"; next} inside' docs/tutorials/{kind,pitch-window}.md)
for command in "${commands[@]}"; do
  echo "\$ $command"
  case $command in
    "kind create cluster"*) kind get clusters | grep -qx kind || bash -c "$command" ;;
    "kind delete cluster"*) ;;
    *--watch*"until it is "*)
      phase=${command##*until it is }
      grep --max-count=1 --word-regexp "${phase%%,*}" < <(timeout 420 bash -c "$command")
      ;;
    *port-forward*) timeout 5 bash -c "$command" || [ "$?" = 124 ] ;;
    *) bash -euo pipefail -c "$command" < /dev/null ;;
  esac
done

[ "$(kubectl get deployment web --output jsonpath='{.status.readyReplicas}')" = 1 ]
