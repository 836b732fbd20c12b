"""What holds vacuum back: dead rows of the queue stay as long as a snapshot may see them."""

from service.storage.engine.connection import Connection

# Sessions of other roles show their xmin to members of pg_read_all_stats only.
OLDEST_XMIN = """
SELECT greatest(0,
  (SELECT max(age(backend_xmin)) FROM pg_stat_activity),
  (SELECT max(greatest(age(xmin), age(catalog_xmin))) FROM pg_replication_slots),
  (SELECT max(age(transaction)) FROM pg_prepared_xacts))
"""


async def oldest_xmin(connection: Connection) -> int:
    """Return how many transactions ago the oldest snapshot was taken."""
    transactions: int = await connection.fetchval(OLDEST_XMIN)
    return transactions
