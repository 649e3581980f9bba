"""The tables. Changing one means writing a migration too; a test compares the two."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(sa.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets time zones, so it is put back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: always UTC."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: with its time zone."""
        del dialect
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


pets = sa.Table(
    "pets",
    metadata,
    sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("login", sa.String(100), nullable=False),
    sa.Column("avatar_url", sa.String(2000), nullable=False),
    sa.Column("name", sa.String(50), nullable=False),
    sa.Column("experience", sa.BigInteger, nullable=False),
    sa.Column("clothes", sa.String(20), nullable=False),
    sa.Column("background", sa.String(20), nullable=False),
    sa.Column("fed_on", sa.Date),
    sa.Column("fed_count", sa.Integer, nullable=False),
    # What GitHub last said, and when: survives a pod that sleeps, and is shared by replicas.
    sa.Column("food_day", sa.Date),
    sa.Column("food_contributions", sa.Integer),
    sa.Column("food_seen_at", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.CheckConstraint("experience >= 0", name="experience"),
    sa.CheckConstraint("fed_count >= 0", name="fed_count"),
)

# Best first, and among equals always in the same order: the ranking is read off this index.
sa.Index("ix_pets_ranking", pets.c.experience.desc(), pets.c.user_id)

# One row per feeding that came with an Idempotency-Key: what was answered, to answer it again.
feedings = sa.Table(
    "feedings",
    metadata,
    sa.Column(
        "user_id",
        sa.BigInteger,
        sa.ForeignKey("pets.user_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("fed_at", Instant, nullable=False),
    sa.Column("experience", sa.BigInteger, nullable=False),
    sa.Column("food_left", sa.Integer, nullable=False),
)
