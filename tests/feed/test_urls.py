import pytest
from rows import each

from kotatsu_feed.storage.urls import database_url


@each(
    "text, expected",
    [
        ("sqlite:///pets.db", "sqlite+aiosqlite:///pets.db"),
        ("sqlite:////data/pets.db", "sqlite+aiosqlite:////data/pets.db"),
        ("sqlite+aiosqlite:///pets.db", "sqlite+aiosqlite:///pets.db"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h:5432/d", "postgresql+asyncpg://u:p@h:5432/d"),
        ("postgresql+asyncpg://u@/d?host=/run/pg", "postgresql+asyncpg://u@/d?host=/run/pg"),
        ("postgresql://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require"),
    ],
)
def test_a_url_as_people_write_it_gets_its_async_driver(text: str, expected: str) -> None:
    rendered = database_url(text).render_as_string(hide_password=False)
    assert rendered.replace("%2F", "/") == expected


@each(
    "text, reason",
    [
        ("", "not a database URL"),
        ("pets.db", "not a database URL"),
        ("postgresql://u:secret@h:port/d", "not a database URL"),
        ("mysql://u:secret@h/d", "mysql is not supported"),
        ("postgresql+psycopg2://u:secret@h/d", "psycopg2 is not supported"),
        ("postgresql://u:secret@h/d?channel_binding=require", "the option channel_binding"),
        ("postgresql://u:secret@h/d?sslmode=banana", "sslmode is one of disable, allow"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "needs a file"),
    ],
)
def test_a_wrong_one_is_refused_with_a_reason_and_without_the_password(
    text: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        database_url(text)
    assert "secret" not in str(caught.value)
