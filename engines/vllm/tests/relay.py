"""Stands in for the process of `vllm serve` only: passes bytes on to a real vLLM that is running already.

So one start of vLLM serves every door. RELAY_TO is the real one's Unix socket, `--uds` says where to listen.
"""

from __future__ import annotations

import asyncio
import os
import sys


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on as they come; when one side ends the other does, too."""
    try:
        while chunk := await source.read(65536):
            sink.write(chunk)
            await sink.drain()
    except ConnectionError:
        return
    finally:
        sink.close()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there, back = await asyncio.open_unix_connection(os.environ["RELAY_TO"])
    await asyncio.gather(copy(reader, back), copy(there, writer))


async def main() -> None:
    server = await asyncio.start_unix_server(relay, sys.argv[sys.argv.index("--uds") + 1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
