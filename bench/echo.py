"""What the bus alone can do: a nats-py subscriber that sends every body back."""

import asyncio
import sys

import nats
from nats.aio.msg import Msg

SUBJECT = "bench.echo"


async def echo(url: str) -> None:
    """Answer until the process is ended."""
    client = await nats.connect(url)

    async def answer(message: Msg) -> None:
        await client.publish(message.reply, message.data)

    await client.subscribe(SUBJECT, cb=answer)
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(echo(sys.argv[1]))
