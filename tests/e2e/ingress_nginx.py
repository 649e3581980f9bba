"""What ingress-nginx does with the endpoints of a Service, played beside the cluster.

Its controller 1.15.1 cannot be had here. Read in its source: it takes the Ready endpoints of all
EndpointSlices of the Service, each with the port of the slice that has the name of the Service's
port; it looks at most every 3.3 s (`--sync-rate-limit` 0.3); NGINX has them within another second,
without a reload; peers are asked in turn, on kept connections, and another one after an error or a
timeout, three in all. Limits are its defaults, but for annotations of the Ingress.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e import peer
from e2e.kit import App
from packages import install, nginx

from kotatsu_node.ports import free_ports

SYNC_SECONDS = 1 / 0.3
_PREFIX = "nginx.ingress.kubernetes.io/"
_MODULES = ("libnginx-mod-http-lua", "lua-resty-core", "lua-resty-lrucache", "nginx-light")
_CONFIG = """\
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
user root;
worker_processes 2;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  init_worker_by_lua_block {{
    peers, turn = {{}}, 0
    local function read()
      local found = {{}}
      for line in io.lines("{folder}/peers") do
        local address, port = line:match("(%S+) (%d+)")
        table.insert(found, {{address, tonumber(port)}})
      end
      peers = found
    end
    read()
    ngx.timer.every(1, read)
  }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream backend {{
    server 0.0.0.1;
    balancer_by_lua_block {{
      local balancer = require("ngx.balancer")
      if #peers == 0 then return ngx.exit(503) end
      turn = turn % #peers + 1
      balancer.set_more_tries(1)
      balancer.set_current_peer(peers[turn][1], peers[turn][2])
    }}
    keepalive 320;
    keepalive_timeout 60s;
    keepalive_requests 10000;
  }}
  server {{
    listen {address};
    location = /healthz {{ return 200; }}
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_connect_timeout 5s;
      proxy_send_timeout 60s;
      proxy_read_timeout {read_timeout}s;
      proxy_buffering off;
      proxy_next_upstream error timeout;
      proxy_next_upstream_tries 3;
    }}
  }}
}}
"""


@contextmanager
def ingress_nginx(app: App, folder: Path, annotations: Mapping[str, str]) -> Iterator[str]:
    """Lead to an app as an Ingress with annotations would; the address."""
    install(*_MODULES)
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    limit = annotations.get(f"{_PREFIX}proxy-read-timeout", "60")
    text = _CONFIG.format(folder=folder, address=address, read_timeout=limit)
    (folder / "nginx.conf").write_text(text)
    follower = _Follower(app, folder / "peers")
    follower.look()
    follower.start()
    try:
        arguments = ("-e", str(folder / "error.log"), "-p", str(folder), "-c", "nginx.conf")
        ready = f"http://{address}/healthz"
        with peer.running(Path(nginx()), *arguments, folder=folder, ready=ready):
            yield address
    finally:
        follower.ends.set()
        follower.join()


class _Follower(threading.Thread):
    """Writes down the endpoints of an app's Service, as often as the controller does."""

    def __init__(self, app: App, file: Path) -> None:
        super().__init__()
        self.ends = threading.Event()
        self._app, self._file = app, file

    def run(self) -> None:
        """Look again and again until the end."""
        while not self.ends.wait(SYNC_SECONDS):
            self.look()

    def look(self) -> None:
        """The endpoints of this moment."""
        kubectl, name = self._app.kubectl, self._app.name
        [port] = kubectl.get("service", name)["spec"]["ports"]
        found = set()
        for part in kubectl.items("endpointslices", **{"kubernetes.io/service-name": name}):
            ports = [p["port"] for p in part["ports"] or () if p.get("name") == port.get("name")]
            for endpoint in part.get("endpoints") or ():
                if endpoint["conditions"].get("ready", True):
                    found |= {(a, p) for a in endpoint["addresses"] for p in ports}
        new = self._file.with_suffix(".new")
        new.write_text("".join(f"{address} {number}\n" for address, number in sorted(found)))
        new.rename(self._file)
