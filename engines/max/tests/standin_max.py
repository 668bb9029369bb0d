"""A stand-in for `max serve`: its routes, its second port, its children and its quirks, as seen of MAX 26.7. No model.

STANDIN_FAILS is written to stderr before it ends with 1. STANDIN_TOOLS is `unseen`, `optional` or `forced`;
STANDIN_TASK the task that it says it found.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

KNOWN = {
    *(
        "model",
        "messages",
        "prompt",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_logprobs",
        "n",
        "stream",
        "user",
        "store",
    ),
    *("stream_options", "seed", "stop", "tools", "tool_choice", "metadata", "min_tokens", "frequency_penalty", "top_k"),
    *("response_format", "echo", "logprobs", "ignore_eos", "presence_penalty", "min_p", "best_of", "logit_bias"),
}
TOOLS = os.environ.get("STANDIN_TOOLS", "unseen")
running = 0


async def generate(call: web.Request) -> web.StreamResponse:
    """Says what it was asked. `n` is ignored, and several prompts cannot be streamed."""
    global running
    body = await call.json()
    for name in body.keys() - KNOWN:
        told = f"1 validation error for Create\n{name}\n  Extra inputs are not permitted [type=extra_forbidden"
        return error(400, f"{told}, input_value=1, input_type=int]")
    if body.get("temperature", 0) > 1.5:
        return error(400, "Value error.")
    if isinstance(body.get("prompt"), list) and body.get("stream"):
        return error(500, "Internal server error.")
    chat = call.path.endswith("chat/completions")
    prompt = 20 if TOOLS != "unseen" and body.get("tools") else 10
    usage = {"prompt_tokens": prompt, "completion_tokens": 3, "total_tokens": prompt + 3}
    said = json.dumps(body)
    if not body.get("stream"):
        calls = [{"id": "c"}] if TOOLS == "forced" and body.get("tool_choice") == "required" else None
        content = {"message": {"role": "assistant", "content": said, "tool_calls": calls}} if chat else {"text": said}
        choice = {"index": 0, "finish_reason": "stop", **content}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await answer.prepare(call)
    running += 1
    try:
        for piece in [said, *(["."] * int(body.get("max_tokens", 2)))]:
            delta = {"delta": {"role": "assistant", "content": piece}} if chat else {"text": piece}
            kind = "chat.completion.chunk" if chat else "text_completion"
            await event(answer, {"id": "x", "object": kind, "choices": [{"index": 0, **delta}]})
            await asyncio.sleep(0.005)
        if (body.get("stream_options") or {}).get("include_usage"):
            await event(answer, {"id": "x", "object": "chunk", "choices": [], "usage": usage})
        await answer.write(b"data: [DONE]\n\n")
    finally:
        running -= 1
    return answer


async def event(answer: web.StreamResponse, data: dict[str, Any]) -> None:
    await answer.write(f"data: {json.dumps(data)}\n\n".encode())


def error(status: int, message: str) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "api_error"
    told = {"code": str(status), "message": message, "param": "", "type": kind}
    return web.json_response({"error": told}, status=status)


async def models(call: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": option("--served-model-name"), "object": "model"}]})


async def health(call: web.Request) -> web.Response:
    return web.Response()


async def metrics(call: web.Request) -> web.Response:
    return web.Response(text=f"maxserve_num_requests_running {running}\n")


def option(name: str) -> str:
    return next(word.partition("=")[2] for word in sys.argv if word.startswith(name + "="))


async def main() -> None:
    Path(os.environ["TMPDIR"], "standin-socket").touch()
    print(
        f"07:15:15.851 INFO: Auto-detected pipeline task: {os.environ.get('STANDIN_TASK', 'text_generation')}",
        flush=True,
    )
    print("ENVIRON " + json.dumps(dict(os.environ)), flush=True)
    served, measured = web.Application(), web.Application()
    served.router.add_get("/health", health)
    served.router.add_get("/v1/models", models)
    served.router.add_post("/v1/chat/completions", generate)
    served.router.add_post("/v1/completions", generate)
    measured.router.add_get("/metrics", metrics)
    ports = (int(option("--port")), int(os.environ["MAX_SERVE_METRICS_ENDPOINT_PORT"]))
    for app, port in zip((served, measured), ports, strict=True):
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if failing := os.environ.get("STANDIN_FAILS"):
        sys.exit(failing)
    # As MAX's workers, these leave its process group and are still there when it is killed.
    for _ in range(3):
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    asyncio.run(main())
