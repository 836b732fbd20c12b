"""PostgreSQL itself: pools, connections, clock, locks, errors, migrations, several nodes."""
