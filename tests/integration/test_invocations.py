"""What a call needs is read from a row by the position of its columns."""

import asyncpg

from service.storage.runs.invocations import LOAD, Invocation, Secrets


async def test_columns_stand_in_the_order_of_the_members(connection: asyncpg.Connection) -> None:
    columns = [column.name for column in (await connection.prepare(LOAD)).get_attributes()]
    members = [name for name in Invocation.__struct_fields__ if name != "secrets"]
    assert columns == ["n", *members, *Secrets.__struct_fields__]
