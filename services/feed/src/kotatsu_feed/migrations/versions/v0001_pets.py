"""The pets, their ranking, and the feedings that may be asked about again."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pets",
        sa.Column("user_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("login", sa.String(100), nullable=False),
        sa.Column("avatar_url", sa.String(2000), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("experience", sa.BigInteger, nullable=False),
        sa.Column("clothes", sa.String(20), nullable=False),
        sa.Column("background", sa.String(20), nullable=False),
        sa.Column("fed_on", sa.Date),
        sa.Column("fed_count", sa.Integer, nullable=False),
        sa.Column("food_day", sa.Date),
        sa.Column("food_contributions", sa.Integer),
        sa.Column("food_seen_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("experience >= 0", name=op.f("ck_pets_experience")),
        sa.CheckConstraint("fed_count >= 0", name=op.f("ck_pets_fed_count")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_pets")),
    )
    op.create_index("ix_pets_ranking", "pets", [sa.text("experience DESC"), "user_id"])
    op.create_table(
        "feedings",
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("experience", sa.BigInteger, nullable=False),
        sa.Column("food_left", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["pets.user_id"],
            name=op.f("fk_feedings_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_feedings")),
    )
