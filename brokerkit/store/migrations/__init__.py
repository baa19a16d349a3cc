"""The versions of a store's tables, as Alembic migrations, and the way from one to the next."""
