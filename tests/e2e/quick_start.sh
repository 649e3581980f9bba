#!/usr/bin/env bash
# The README's Quick start as it is written, each command of it, from `kind create cluster` on (unless there
# is such a cluster). What watches is ended after a minute. At the end the pool is warm, and after `helm
# uninstall` its app runs. For a cluster that is thrown away: nothing else is removed.
set -euo pipefail
cd "$(dirname "$0")/../.."

section=$(awk '/^##/ {found = $0 == "## Quick start"} found' README.md)
mapfile -t commands < <(awk '/^```/ {inside = !inside; next} inside' <<< "$section")
for command in "${commands[@]}"; do
  echo "\$ $command"
  case $command in
    "kind create cluster"*) kind get clusters | grep -qx kind || bash -c "$command" ;;
    *--watch*) timeout 60 bash -c "$command" || [ "$?" = 124 ] ;;
    *) bash -euo pipefail -c "$command" ;;
  esac
done

[ "$(kubectl get warmpool web --namespace demo --output jsonpath='{.status.phase}')" = Warm ]
helm uninstall kotatsu --namespace kotatsu
kubectl wait deployment/web --namespace demo --for=condition=Available --timeout=60s
