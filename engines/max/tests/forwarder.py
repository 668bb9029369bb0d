"""Forwards ports of 127.0.0.1: `forwarder.py FROM TO [FROM TO]…`, so that two workers can share one real MAX."""

from __future__ import annotations

import asyncio
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def listen(here: int, there: int) -> asyncio.Server:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", there)
        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))

    return await asyncio.start_server(accept, "127.0.0.1", here)


async def main() -> None:
    ports = [int(port) for port in sys.argv[1:]]
    servers = [await listen(here, there) for here, there in zip(ports[::2], ports[1::2], strict=True)]
    # The engine reads this off the real one's log.
    print("INFO: Auto-detected pipeline task: text_generation", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
