"""The clients of the apps: each does one thing that takes long, and fails if it was cut.

python3 client.py WHAT SECONDS, where WHAT is a function of this file
"""

import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import psycopg
import psycopg_pool
import websocket


def kernel(seconds: float) -> None:
    """Set a variable, run a cell that prints nothing for so long, and look at the variable."""
    token = {"Authorization": "token apps"}
    made = httpx.post("http://jupyterlab/api/kernels", headers=token, timeout=60).json()
    address = f"ws://jupyterlab/api/kernels/{made['id']}/channels"
    channels = websocket.create_connection(address, header=token, timeout=seconds + 30)
    run(channels, "variable = 42")
    run(channels, f"import time; time.sleep({seconds})")
    assert run(channels, "print(variable)") == "42\n"


def run(channels: websocket.WebSocket, code: str) -> str:
    """Run a cell; what it printed."""
    number, printed = uuid.uuid4().hex, ""
    header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    channels.send(json.dumps(request | {"channel": "shell"}))
    while True:
        message = json.loads(channels.recv())
        if message["parent_header"].get("msg_id") != number:
            continue
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return printed


def transaction(seconds: float) -> None:
    """Commit a transaction: a statement takes three quarters of the time, the client the rest."""
    address = "host=postgres user=app dbname=postgres"
    with psycopg_pool.ConnectionPool(address, min_size=1, timeout=60) as pool:
        with pool.connection() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS rows (number serial)")
            connection.execute("INSERT INTO rows DEFAULT VALUES")
            connection.execute("SELECT pg_sleep(%s)", [seconds * 0.75])
            time.sleep(seconds * 0.25)
            connection.execute("INSERT INTO rows DEFAULT VALUES")
        with pool.connection() as connection:
            (count,) = connection.execute("SELECT count(*) FROM rows").fetchone() or (0,)
    assert count == 2, f"{count} of 2 rows were committed"


def pop(seconds: float) -> None:
    """Wait for the first element of a list that another client adds after so long."""
    redis = ["redis-cli", "-h", "redis"]
    subprocess.run([*redis, "ping"], check=True)
    with subprocess.Popen([*redis, "blpop", "jobs", "0"], stdout=subprocess.PIPE) as waiting:
        time.sleep(seconds)
        subprocess.run([*redis, "rpush", "jobs", "one"], check=True)
        printed = waiting.communicate(timeout=20)[0]
    assert printed.split() == [b"jobs", b"one"], printed


def message(seconds: float) -> None:
    """Subscribe, and get the message that comes after so long."""
    subscribe = [
        "mosquitto_sub",
        "-h",
        "mqtt",
        "-t",
        "pets",
        "-C",
        "1",
        "-W",
        f"{seconds + 30:.0f}",
    ]
    with subprocess.Popen(subscribe, stdout=subprocess.PIPE) as subscriber:
        time.sleep(seconds)
        subprocess.run(["mosquitto_pub", "-h", "mqtt", "-t", "pets", "-m", "fed"], check=True)
        printed = subscriber.communicate()[0]
    assert printed == b"fed\n", printed


def download(seconds: float) -> None:
    """Take a file of 200 MB so slowly that it takes so long, and compare it."""
    with subprocess.Popen(["large-file"], stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        wanted = hashlib.file_digest(made.stdout, "sha256").hexdigest()
    size, came, got, begun = 200_000_000, 0, hashlib.sha256(), time.monotonic()
    with httpx.stream("GET", "http://nginx/large", timeout=60) as answer:
        for part in answer.iter_raw(1 << 18):
            came += len(part)
            got.update(part)
            time.sleep(max(0.0, begun + seconds * came / size - time.monotonic()))
    assert (came, got.hexdigest()) == (size, wanted), f"{came} of {size} bytes came"


def paused(seconds: float) -> None:
    """Take a file of which the second half comes after so long."""
    answer = httpx.get(f"http://php/?seconds={seconds:.0f}", timeout=seconds + 60)
    assert answer.content == b"a" * 1_000_000 + b"b" * 1_000_000, len(answer.content)


def sessions(seconds: float) -> None:
    """Open nine sessions with MariaDB, one of which is quiet for so long."""
    for number in range(8):
        assert sql(f"SELECT {number}").stdout == f"{number}\n"
    assert sql(f"DO SLEEP({seconds}); SELECT 8").stdout == "8\n"


def refused(seconds: float) -> None:
    """See MariaDB's client give up within so long: the server has said nothing."""
    begun = time.monotonic()
    assert "Lost connection" in sql("SELECT 1").stderr
    assert time.monotonic() - begun < seconds


def sql(statement: str) -> subprocess.CompletedProcess[str]:
    """What MariaDB answers, or its client says."""
    of = ("mariadb", "--host=mariadb", "--user=app", "--skip-ssl", "--connect-timeout=3")
    batch = ("--batch", "--skip-column-names", f"--execute={statement}")
    return subprocess.run([*of, *batch], capture_output=True, text=True, check=False)


def events(seconds: float) -> None:
    """Get two events with so long between them through a proxy that speaks HTTP/1.0."""
    said = "proxy_http_version 1.0; proxy_buffering off; proxy_read_timeout 300s;"
    with nginx("events", said):
        answer = httpx.get(f"{PROXY}?seconds={seconds}", timeout=seconds + 60)
    assert answer.text == "data: first\n\ndata: last\n\n", answer.text


def kept(seconds: float) -> None:
    """Ask for a stream, with at most so long between two bytes, through nginx as it comes."""
    accept = {"Accept": "text/event-stream"}
    with nginx("model"):
        answer = httpx.get(PROXY, headers=accept, timeout=seconds)
    comments, _, told = answer.text.rpartition(": waiting for a pod\n\n")
    assert comments.count("waiting") >= 4, answer.text
    assert told == "data: first\n\ndata: last\n\n", answer.text


PROXY = "http://localhost:8000/"


@contextmanager
def nginx(app: str, said: str = "") -> Iterator[None]:
    """Run a proxy of an app in this pod; it ends a request after 60 s without a byte."""
    folder = Path(tempfile.mkdtemp())
    (folder / "nginx.conf").write_text(
        "daemon off; pid pid; events {} http { access_log off; server { listen 8000; "
        f"location / {{ proxy_pass http://{app}/; {said} }} }} }}"
    )
    started = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(started) as proxy:
        time.sleep(1)
        try:
            yield
        finally:
            proxy.terminate()


def again(seconds: float) -> None:
    """Ask, give up after so long, and ask again until there is an answer."""
    begun = time.monotonic()
    while time.monotonic() < begun + 240:
        try:
            answer = httpx.get("http://model/", timeout=seconds)
        except httpx.TimeoutException:
            continue
        if answer.status_code == 200:
            assert answer.text.endswith("data: last\n\n")
            return
        time.sleep(float(answer.headers.get("retry-after", "5")))
    raise AssertionError("nobody was answered for 240 s")


def call(seconds: float) -> None:
    """Make a call that is answered after so long, without a byte meanwhile."""
    with grpc.insecure_channel("grpc:80") as channel:
        quiet = channel.unary_unary("/Apps/Quiet")
        answer = quiet(str(seconds).encode(), wait_for_ready=True, timeout=seconds + 60)
    assert answer == b"answered"


def request(seconds: float) -> None:
    """Make a request that is answered after so long."""
    address = f"http://spring-boot/slow?seconds={seconds:.0f}"
    assert httpx.get(address, timeout=seconds + 60).text == "slow\n"


def orders(seconds: float) -> None:
    """Order six times within so long, at random moments; then all that was ordered is there."""

    def order(pause: float) -> None:
        time.sleep(pause)
        name = uuid.uuid4().hex
        httpx.post("http://web/", content=name, timeout=60).raise_for_status()
        with ORDERED.open("a") as file:
            file.write(f"{name}\n")

    with ThreadPoolExecutor() as threads:
        list(threads.map(order, [0.0, *(random.uniform(0, seconds) for _ in range(5))]))
    with psycopg.connect("host=postgres user=app dbname=postgres") as connection:
        stored = {name for (name,) in connection.execute("SELECT name FROM orders")}
    missing = set(ORDERED.read_text().split()) - stored
    assert not missing, f"{len(missing)} rows are missing"


ORDERED = Path.home() / "ordered"

globals()[sys.argv[1]](float(sys.argv[2]))
