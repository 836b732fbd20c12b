"""``temporal schedule delete --schedule-id ID``, for the Temporal of a rehearsal: a table.

Its first argument is the database. Ends with status 1 where there is no such schedule.
"""

import asyncio
import sys

import asyncpg

SCHEMA = "CREATE SCHEMA temporal; CREATE TABLE temporal.schedule (id text PRIMARY KEY)"
DELETE = "DELETE FROM temporal.schedule WHERE id = $1"


async def delete(dsn: str, id_: str) -> str:
    """Remove a schedule; return why it could not be, empty where it was."""
    connection = await asyncpg.connect(dsn)
    try:
        tag = await connection.execute(DELETE, id_)
    finally:
        await connection.close()
    return "" if tag == "DELETE 1" else f"schedule not found: {id_}"


if __name__ == "__main__":
    sys.exit(asyncio.run(delete(sys.argv[1], sys.argv[-1])) or 0)
