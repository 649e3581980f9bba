#!/usr/bin/env bash
# What docs/how-to/monitoring.md says about every panel, on the cluster of `make demo`: its Prometheus, a demo, a
# visit to the app, and then each line of each panel must have data.
set -euo pipefail
cd "$(dirname "$0")/../.."
eval "$(.venv/bin/python -m kotatsu_demo env)"

block() { # the first block of commands below a heading
  awk -v heading="$1" '/^##/ {found = $0 == heading} found' docs/how-to/monitoring.md \
    | awk '/^```/ {if (++fences == 2) exit; next} fences'
}

# The first port-forward of the page is for a browser and does not end.
install=$(block "## With a plain Prometheus" | sed 's/-n demo /-n kotatsu-demo /' | grep -v port-forward)
bash -euxo pipefail -c "$install"
make demo
bash -euxo pipefail -c "$(block "### Every panel, on kind")"
kubectl port-forward -n kotatsu-demo service/prometheus 9090 > /dev/null &
trap 'kill %%' EXIT
sleep 15 # three scrapes
cd tests && ../.venv/bin/python -m e2e.prometheus http://127.0.0.1:9090 kotatsu-demo
