"""A stand-in for `vllm serve`: enough of its server to start, be asked, be left and be stopped. No model.

STANDIN_FAILS names a recorded log (logs/README.md): it writes that and ends with 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

running = 0


async def health(request: Request) -> Response:
    return Response()


async def metrics(request: Request) -> Response:
    return PlainTextResponse(f'vllm:num_requests_running{{engine="0"}} {running}\n')


async def models(request: Request) -> Response:
    model, names = sys.argv[4], sys.argv[sys.argv.index("--served-model-name") + 1 :]
    names = names[: next((i for i, name in enumerate(names) if name.startswith("--")), None)]
    return JSONResponse({"object": "list", "data": [{"id": name, "object": "model", "root": model} for name in names]})


async def openapi(request: Request) -> Response:
    return JSONResponse({"paths": {"/v1/models": {"get": {}}, "/v1/chat/completions": {"post": {}}, "/sleep": {}}})


async def chat(request: Request) -> Response:
    body = await request.json()
    if body.get("temperature", 0) > 2:
        detail = "1 validation error:\n  {'type': 'x', 'loc': 'body.temperature', 'msg': 'Too hot', 'input': 9}"
        return JSONResponse({"error": {"message": detail, "type": "Bad Request", "param": None, "code": 400}}, 400)
    if body.get("stream"):
        return StreamingResponse(events(body), media_type="text/event-stream")
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": json.dumps(body)}}
    return JSONResponse({"id": "x", "object": "chat.completion", "created": 0, "choices": [choice]})


async def events(body: dict[str, object]) -> AsyncIterator[str]:
    global running
    running += 1
    try:
        for number in range(int(str(body.get("max_tokens", 3)))):
            choice = {"index": 0, "delta": {"content": f"{number} "}, "finish_reason": None}
            yield f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
            await asyncio.sleep(0.01)
        yield "data: [DONE]\n\n"
    finally:
        running -= 1


def main() -> int:
    if recorded := os.environ.get("STANDIN_FAILS"):
        print((Path(__file__).parent / "start_failures" / f"{recorded}.txt").read_text())
        return 1
    if "--headless" in sys.argv:
        signal.pause()  # A follower has no API.
    answers = {"/health": health, "/metrics": metrics, "/openapi.json": openapi, "/v1/models": models}
    routes = [Route(path, answer) for path, answer in answers.items()]
    app = Starlette(routes=[*routes, Route("/v1/chat/completions", chat, methods=["POST"])])
    print(
        "INFO 11-21 04:45:41 [core.py:402] init engine (profile, create kv cache, warmup model) took 3.50 s", flush=True
    )
    uvicorn.run(app, uds=sys.argv[sys.argv.index("--uds") + 1], log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
