"""An app that streams by itself, on one server after another: what each server costs, with nothing else beside it.

python bare_stream.py httptools | zttp | ours PORT    or    granian --interface asgi bare_stream:app

It answers as source.py does: `max_tokens` events at `rate` a second, on an absolute schedule.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from source import EVENT, RATE, USAGE


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    request = json.loads(body)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    loop = asyncio.get_running_loop()
    rate = float(request.get("rate", RATE))
    began = loop.time()
    for number in range(request["max_tokens"]):
        late = loop.time() - (began + number / rate)
        if late < 0:
            await asyncio.sleep(-late)
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
    usage = USAGE % (1, request["max_tokens"], 1 + request["max_tokens"])
    await send({"type": "http.response.body", "body": usage + b"data: [DONE]\n\n"})


def main(server: str, port: int) -> None:
    import uvicorn

    protocol: Any = server
    served: Any = app
    if server == "ours":
        from engineroom_workers.http.protocol import RequestMemory, make_protocol, releasing

        protocol = make_protocol(60, RequestMemory(10**9))
        served = releasing(app)
    uvicorn.run(
        served,
        port=port,
        http=protocol,
        loop="uvloop",
        lifespan="off",
        log_level="error",
        access_log=False,
        backlog=1024,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
