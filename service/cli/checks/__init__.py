"""What `check` examines: the database, the bus and the keys."""
