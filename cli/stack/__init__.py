"""The local stack: embedded PostgreSQL and Redis, and every process of the suite."""
