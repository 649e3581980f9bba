"""KOTATSU_DATABASE_URL as people write it, made into what the async drivers need."""

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}

_OPTIONS = {"host", "port", "prepared_statement_cache_size", "ssl", "target_session_attrs"}
_SSL = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def database_url(text: str) -> URL:
    """The URL with its async driver; ValueError says, without the password, what is wrong."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(
            "not a database URL; write sqlite:///path/to/file or"
            " postgresql://user:password@host:5432/database"
        ) from None
    if url.drivername not in _DRIVERS:
        raise ValueError(
            f"{url.drivername} is not supported; use {' or '.join(('sqlite', 'postgresql'))}"
        )
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.get_backend_name() == "sqlite":
        if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
            raise ValueError("SQLite needs a file: in memory, the pets would be lost with the pod")
        return url
    if "sslmode" in url.query:  # libpq's name for what asyncpg calls ssl
        url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(
            ["sslmode"]
        )
    if unknown := url.query.keys() - _OPTIONS:
        raise ValueError(f"the driver does not know the option {min(unknown)}; remove it")
    if url.query.get("ssl", "prefer") not in _SSL:
        raise ValueError(f"sslmode is one of {', '.join(_SSL)}")
    return url
