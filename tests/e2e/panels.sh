#!/usr/bin/env bash
# On the cluster of `make demo`: the Prometheus of docs/how-to/monitoring.md, a demo, a visit to the app, and then each
# line of each panel must have data.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(cd "${VENV:-.venv}/bin" && pwd)/python
eval "$("$python" -m kotatsu_demo env)"

block() { # the first block of commands below a heading
  awk -v heading="$1" '/^##/ {found = $0 == heading} found' docs/how-to/monitoring.md \
    | awk '/^```/ {if (++fences == 2) exit; next} fences'
}

visit() { # use each part of the app once
  kubectl port-forward -n kotatsu-demo service/gateway 8080:80 > /dev/null &
  until curl -fs "http://localhost:8080/token?code=demo"; do sleep 1; done
  curl -fs -H "Authorization: demo" http://localhost:8080/home
  curl -fs -H "Authorization: demo" -X POST http://localhost:8080/get_feed
  curl -fs -H "Authorization: demo" -X POST http://localhost:8080/feed
  curl -fs --data-urlencode text=おなかがすいたよ http://localhost:8080/voice > /dev/null
  kill %%
}

# The first port-forward of the page is for a browser and does not end.
install=$(block "## With a plain Prometheus" | sed 's/-n kotatsu /-n kotatsu-demo /' | grep -v port-forward)
bash -euxo pipefail -c "$install"
make demo
visit
kubectl port-forward -n kotatsu-demo service/prometheus 9090 > /dev/null &
trap 'kill %%' EXIT
sleep 15 # three scrapes
cd tests && "$python" -m e2e.prometheus http://127.0.0.1:9090 kotatsu-demo
