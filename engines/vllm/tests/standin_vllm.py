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
adapters: dict[str, str] = {}
LOADS_ADAPTERS = os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "1"


async def health(request: Request) -> Response:
    return Response()


async def metrics(request: Request) -> Response:
    return PlainTextResponse(f'vllm:num_requests_running{{engine="0"}} {running}\n')


async def models(request: Request) -> Response:
    model, names = sys.argv[4], sys.argv[sys.argv.index("--served-model-name") + 1 :]
    names = names[: next((i for i, name in enumerate(names) if name.startswith("--")), None)]
    listed = [{"id": name, "object": "model", "root": model, "parent": None} for name in names]
    listed += [{"id": name, "object": "model", "root": path, "parent": names[0]} for name, path in adapters.items()]
    return JSONResponse({"object": "list", "data": listed})


async def openapi(request: Request) -> Response:
    paths: dict[str, object] = {"/v1/models": {"get": {}}, "/v1/chat/completions": {"post": {}}, "/sleep": {}}
    if LOADS_ADAPTERS:
        paths |= {"/v1/load_lora_adapter": {"post": {}}, "/v1/unload_lora_adapter": {"post": {}}}
    return JSONResponse({"paths": paths})


async def load_adapter(request: Request) -> Response:
    """As `OpenAIServingModels.load_lora_adapter` of 0.32 answers."""
    body = await request.json()
    name, path = body["lora_name"], Path(body["lora_path"])
    if name in adapters:
        return error(400, f"The lora adapter '{name}' has already been loaded.")
    try:
        rank = json.loads((path / "adapter_config.json").read_text())["r"]
    except OSError:
        return error(404, f"Loading lora {name} failed: No adapter found for {path}")
    limit = int(option("--max-lora-rank", "16"))
    if rank > limit:
        return error(500, f"Call to add_lora method failed: LoRA rank {rank} is greater than max_lora_rank {limit}.")
    await asyncio.sleep(0.05)
    adapters[name] = str(path)
    print(f"standin loaded {name}", flush=True)
    return PlainTextResponse("Success")


async def unload_adapter(request: Request) -> Response:
    name = (await request.json())["lora_name"]
    if adapters.pop(name, None) is None:
        return error(404, f"The lora adapter '{name}' cannot be found.")
    print(f"standin unloaded {name}", flush=True)
    return PlainTextResponse("Success")


async def sleep(request: Request) -> Response:
    """A real one gives its GPU's memory back; this one has none, and only notes that it was told to."""
    print(f"standin asleep at level {request.query_params['level']}", flush=True)
    return JSONResponse({"status": "sleeping"})


async def wake_up(request: Request) -> Response:
    print("standin awake", flush=True)
    return JSONResponse({"status": "awake"})


def error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": status}}, status)


def option(name: str, default: str) -> str:
    """The value of a flag of the command line."""
    given = (word for word in sys.argv if word.startswith(f"{name}="))
    return next(given, f"={default}").partition("=")[2]


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
    steering = {"/v1/load_lora_adapter": load_adapter, "/v1/unload_lora_adapter": unload_adapter}
    posted = {"/v1/chat/completions": chat, **(steering if LOADS_ADAPTERS else {})}
    if os.environ.get("VLLM_SERVER_DEV_MODE") == "1":
        posted |= {"/sleep": sleep, "/wake_up": wake_up}
    app = Starlette(routes=[*routes, *(Route(path, answer, methods=["POST"]) for path, answer in posted.items())])
    print(
        "INFO 11-21 04:45:41 [core.py:402] init engine (profile, create kv cache, warmup model) took 3.50 s", flush=True
    )
    uvicorn.run(app, uds=sys.argv[sys.argv.index("--uds") + 1], log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
