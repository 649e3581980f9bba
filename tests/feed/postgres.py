"""A throwaway PostgreSQL server: its own data in a temporary folder, its own user, no TCP port."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packages import CannotInstallError, install

ROLE = "kotatsu"


class NoPostgresError(Exception):
    """There is no server to be had here; the text says why."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server for the length of the block; yields the folder of its socket."""
    binaries = _binaries()
    user = _user()
    # Short, since the path of a Unix socket may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="kotatsu-pg-", dir="/tmp"))
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        _run(user, binaries / "initdb", "-D", folder / "data", "-U", ROLE, "-A", "trust", "-N")
        with _process(user, binaries, folder):
            yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = _find()
    if found is None:
        _install()
        found = _find()
    if found is None:
        raise NoPostgresError("the postgresql package brought no initdb")
    return found


def _find() -> Path | None:
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda p: float(p.parts[-3]), default=None)
    path = newest or shutil.which("initdb")
    return Path(path).resolve().parent if path else None


def _install() -> None:
    """Debian's package, without the server that it would start by itself."""
    try:
        install("postgresql-common")
        settings = Path("/etc/postgresql-common/createcluster.conf")
        with settings.open("a") as file:
            file.write("create_main_cluster = false\n")
        install("postgresql")
    except CannotInstallError as error:
        raise NoPostgresError(f"no initdb here, and {error}") from None


def _user() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgresError("there is no user postgres or nobody to run the server as")


def _as(user: pwd.struct_passwd | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(user: pwd.struct_passwd | None, *command: str | Path) -> None:
    done = subprocess.run(  # type: ignore[call-overload]
        command,
        cwd="/",
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        **_as(user),
    )
    if done.returncode != 0:
        raise NoPostgresError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


@contextmanager
def _process(user: pwd.struct_passwd | None, binaries: Path, folder: Path) -> Iterator[None]:
    settings = ["listen_addresses=", "fsync=off", "max_connections=60", "shared_buffers=32MB"]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(  # type: ignore[call-overload]
        [
            binaries / "postgres",
            *("-D", folder / "data", "-k", folder),
            *(part for setting in settings for part in ("-c", setting)),
        ],
        cwd="/",
        env={"LC_ALL": "C.UTF-8"},
        stdout=log,
        stderr=log,
        **_as(user),
    )
    log.close()
    try:
        give_up = time.monotonic() + 30
        ready = [binaries / "pg_isready", "-q", "-h", folder]
        while subprocess.run(ready, check=False).returncode != 0:
            if server.poll() is not None or time.monotonic() > give_up:
                raise NoPostgresError(f"postgres did not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: open connections are ended
        server.wait(30)
