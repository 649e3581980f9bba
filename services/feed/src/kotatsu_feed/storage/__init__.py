"""Where the pets live: SQLite by default, PostgreSQL when there is more than one replica."""
