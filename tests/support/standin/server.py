"""A stand-in for an engine's server process: no model, a few routes, and faults on request. For tests only.

    python server.py (--unix PATH | --port N) [--ready-after S] [--exit CODE] [--child] [--ignore-sigterm]
        [--deaf-after N] [--comments]

POST /v1/chat/completions streams `words` words every `gap` seconds; `fault` breaks it: `die` kills the process
mid-stream, `cut` ends the stream before [DONE], both after `fault_after` words (1); `error` answers 400 in this
server's own shape. GET /v1/things/NAME tells the URL that arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

from aiohttp import web

RUNNING = web.AppKey("running", set)
SERVED = web.AppKey("served", list)
DEAF_AFTER = web.AppKey("deaf_after", int)
COMMENTS = web.AppKey("comments", bool)


async def chat(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    # Through an engine that refuses fields which nobody knows, what is asked of the stand-in comes as notes.
    body |= {name: json.loads(value) for name, value in (body.get("metadata") or {}).items()}
    fault = body.get("fault")
    if fault == "error":
        return web.json_response({"error": "too hot", "code": 400}, status=400)
    token = object()
    request.app[SERVED].append(token)
    if 0 <= request.app[DEAF_AFTER] < len(request.app[SERVED]):
        await go_deaf(request)
    request.app[RUNNING].add(token)
    try:
        if not body.get("stream"):
            await asyncio.sleep(body.get("gap", 0) * body.get("words", 3))
            message = {"role": "assistant", "content": "word " * body.get("words", 3)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"object": "chat.completion", "seen": body, "choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(body.get("words", 3)):
            await asyncio.sleep(body.get("gap", 0))
            if fault == "die" and number == body.get("fault_after", 1):
                print("CUDA out of memory, says the stand-in", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "cut" and number == body.get("fault_after", 1):
                return response
            choice = {"index": 0, "delta": {"content": f"wörd{number} "}, "finish_reason": None}
            await response.write(b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response
    finally:
        request.app[RUNNING].discard(token)


async def go_deaf(request: web.Request) -> None:
    """Generate nothing any more; with --comments say all the same that the front is there."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    if request.app[COMMENTS]:
        await response.prepare(request)
    while True:
        await asyncio.sleep(0.1)
        if request.app[COMMENTS]:
            await response.write(b": still here\n\n")


async def health(request: web.Request) -> web.Response:
    ready = asyncio.get_running_loop().time() >= request.app[READY_AT]
    return web.Response(status=200 if ready else 503)


async def thing(request: web.Request) -> web.Response:
    return web.json_response({"url": request.raw_path})


async def metrics(request: web.Request) -> web.Response:
    return web.Response(text=f"standin_running {len(request.app[RUNNING])}\n")


SHARED = web.AppKey("shared", mmap.mmap)
READY_AT = web.AppKey("ready_at", float)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--unix")
    parser.add_argument("--port", type=int)
    parser.add_argument("--ready-after", type=float, default=0)
    parser.add_argument("--exit", type=int)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--deaf-after", type=int, default=-1, help="chats that it answers; the next wait for ever")
    parser.add_argument("--comments", action="store_true", help="while it is deaf, streams have comments")
    parser.add_argument("--shared-memory", help="a file there that it maps and never unlinks")
    options = parser.parse_args()
    if options.child:
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if options.exit is not None:
        print("unrecognised arguments: --nonsense", flush=True)
        sys.exit(options.exit)
    app = web.Application()
    app[RUNNING] = set()
    app[SERVED] = []
    app[DEAF_AFTER] = options.deaf_after
    app[COMMENTS] = options.comments
    if options.shared_memory:
        Path(options.shared_memory).write_bytes(bytes(4096))
        with open(options.shared_memory, "r+b") as file:
            app[SHARED] = mmap.mmap(file.fileno(), 4096)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/v1/things/{name:.*}", thing)

    async def started(app: web.Application) -> None:
        if options.ignore_sigterm:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        app[READY_AT] = asyncio.get_running_loop().time() + options.ready_after

    app.on_startup.append(started)
    # With a host aiohttp would listen on a port of its own choice beside the socket.
    host = None if options.unix else "127.0.0.1"
    web.run_app(app, path=options.unix, host=host, port=options.port, print=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
