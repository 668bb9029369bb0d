"""The stand-in's HTTP surface, in FastDeploy's shapes."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from .faults import TRACEBACK, answer, error, error_fields, faults, refused
from .model import Piece, generate, prompt_length, prompt_of, schema_of
from .version import VERSION, drops_first_replies, stops_on_disconnect

OPTIONS = web.AppKey("options", dict)
SEEN = web.AppKey("seen", list)
RUNNING = web.AppKey("running", set)
TASKS = web.AppKey("tasks", set)


def make_app(options: dict[str, Any]) -> web.Application:
    app = web.Application(middlewares=[_authenticate])
    app[OPTIONS], app[SEEN], app[RUNNING], app[TASKS] = options, [], set(), set()
    app.router.add_get("/health", _health)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", _generate)
    app.router.add_post("/v1/completions", _generate)
    app.router.add_post("/v1/embeddings", _embeddings)
    app.router.add_post("/v1/reward", _embeddings)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/standin/seen", _seen)
    app.router.add_post("/standin/die", _die)
    return app


@web.middleware
async def _authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
    keys = os.environ.get("FD_API_KEY", "").split(",") if VERSION >= (2, 4) else [""]
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if keys != [""] and request.path.startswith("/v1") and key not in keys:
        return web.json_response({"error": "Unauthorized"}, status=401)
    response: web.StreamResponse = await handler(request)
    return response


async def _health(request: web.Request) -> web.Response:
    """404 while the worker is silent, 304 while the weights are away; `STANDIN_HEALTH` lists what comes before 200."""
    before = request.app[OPTIONS].setdefault("_health", os.environ.get("STANDIN_HEALTH", "").split(","))
    status = before.pop(0) if before else ""
    return web.Response(status=int(status or 200))


async def _models(request: web.Request) -> web.Response:
    name = request.app[OPTIONS]["served_model_name"]
    model = {"id": name, "object": "model", "created": 1, "owned_by": "FastDeploy", "max_model_len": 2048}
    return web.json_response({"object": "list", "data": [model]})


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(text=f"fastdeploy:num_requests_running {len(request.app[RUNNING])}\n")


async def _seen(request: web.Request) -> web.Response:
    """For tests: every body received, the options read from --config, and the environment."""
    return web.json_response(
        {"bodies": request.app[SEEN], "options": request.app[OPTIONS], "environ": dict(os.environ)}, dumps=_dumps
    )


async def _die(request: web.Request) -> web.Response:
    """For tests: the worker has died, so the server ends itself, with 0."""
    asyncio.get_running_loop().call_later(0.1, os._exit, 0)
    return web.Response()


async def _embeddings(request: web.Request) -> web.Response:
    body = await request.json()
    request.app[SEEN].append(body)
    if "invalid" in faults(body):
        # The pooling routes send errors under 200.
        return web.json_response(error_fields(f"Input text is too long, {TRACEBACK}", "invalid_request_error"))
    data = [{"index": 0, "object": "embedding", "embedding": [0.1, -0.2]}]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    return web.json_response({"object": "list", "data": data, "model": body.get("model"), "usage": usage})


async def _generate(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    request.app[SEEN].append(body)
    options = request.app[OPTIONS]
    chat = request.path == "/v1/chat/completions"
    if refusal := _validate(body, chat):
        return refusal
    request_id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4()}"
    found = faults(body)
    if (early := answer(found, request_id)) is not None:
        return early
    if body.get("model", "default") not in ("default", options["served_model_name"]):
        return error(f"Unsupported model: [{body['model']}]", "internal_error", code="model_not_support")
    if body.get("logprobs") and not options.get("enable_logprob"):
        return refused(request_id, "Logprobs is disabled, please enable it in startup config.")
    alternatives = body.get("top_logprobs") or 0
    limit = int(options.get("max_logprobs") or 20)
    if alternatives > limit:
        message = f"Number of top_logprobs requested ({alternatives}) exceeds maximum allowed value ({limit})."
        return refused(request_id, str(("top_logprobs", message)))
    if schema_of(body) is not None and options["guided_decoding_backend"] == "off":
        return refused(
            request_id,
            "guided_backend is None, use --guided-decoding-backend to specify the backend at server startup.",
        )
    if prompt_length(body) >= int(options["max_model_len"]):
        return refused(request_id, "Input text is too long, input_ids_len (9000) >= max_model_len(2048)")
    if not body.get("stream"):
        return await _whole(body, options, chat, found)
    return await _stream(request, body, chat, request_id, found)


def _validate(body: dict[str, Any], chat: bool) -> web.Response | None:
    """Types are checked before a handler is called: these errors are 400, in OpenAI's shape."""
    name = "messages" if chat else "prompt"
    code = "missing_required_parameter" if chat else "invalid_value"
    if not body.get(name):
        return error("Field required", "invalid_request_error", status=400, code=code, param=name)
    if chat and not isinstance(body["messages"], list):
        return error(
            "Input should be a valid list", "invalid_request_error", status=400, code="invalid_value", param=name
        )
    ranges = {"temperature": (0, None), "top_p": (0, 1), "presence_penalty": (-2, 2), "max_tokens": (None, None)}
    for name, (low, high) in ranges.items():
        value = body.get(name)
        if value is None:
            continue
        wrong = None
        if isinstance(value, (str, list, dict)):
            wrong = "Input should be a valid number"
        elif low is not None and value < low:
            wrong = f"Input should be greater than or equal to {low}"
        elif high is not None and value > high:
            wrong = f"Input should be less than or equal to {high}"
        if wrong:
            return error(wrong, "invalid_request_error", status=400, code="invalid_value", param=name)
    return None


async def _whole(body: dict[str, Any], options: dict[str, Any], chat: bool, found: set[str]) -> web.Response:
    """Not streamed: an engine error becomes an empty success or nonsense, and endless reasoning breaks it."""
    if found & {"error-first", "error-mid"}:
        if VERSION < (2, 6) and chat:
            return error("'NoneType' object has no attribute 'get'", "internal_error")
        message = {"message": {"role": "assistant", "content": ""}} if chat else {"text": ""}
        return web.json_response({"choices": [{"index": 0, "finish_reason": "stop", **message}]})
    if "unthinking" in found:
        return error(f"request full generator error: tokenize(None), {TRACEBACK}", "internal_error")
    text = "".join([piece.text async for piece in generate(body, options)])
    message = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return web.json_response({"choices": [{"index": 0, "finish_reason": "stop", **message}]})


async def _stream(
    request: web.Request, body: dict[str, Any], chat: bool, request_id: str, found: set[str]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    if drops_first_replies() and "error-first" in found:
        await asyncio.sleep(3600)
    frames: asyncio.Queue[bytes | None] = asyncio.Queue()
    engine = asyncio.ensure_future(_engine(request.app, body, chat, request_id, found, frames))
    request.app[TASKS].add(engine)
    try:
        while (frame := await frames.get()) is not None:
            await response.write(frame)
    finally:
        # Where the version cannot abort, the engine goes on although nobody listens.
        if stops_on_disconnect():
            engine.cancel()
    return response


async def _engine(
    app: web.Application, body: dict[str, Any], chat: bool, request_id: str, found: set[str], frames: asyncio.Queue
) -> None:
    app[RUNNING].add(request_id)
    try:
        async for frame in _frames(app, body, chat, request_id, found):
            frames.put_nowait(frame)
    finally:
        app[RUNNING].discard(request_id)
        frames.put_nowait(None)


async def _frames(
    app: web.Application, body: dict[str, Any], chat: bool, request_id: str, found: set[str]
) -> AsyncIterator[bytes]:
    head = {"id": request_id, "object": "chat.completion.chunk" if chat else "text_completion"}
    head |= {"created": int(time.time()), "model": app[OPTIONS]["served_model_name"]}
    counts: dict[int, int] = {}
    prompt = prompt_length(body)
    message = f"request[{request_id}] generate stream error: Engine is not healthy: /dev/shm/8000.socket, {TRACEBACK}"
    failure = _data(
        error_fields(message if chat else "Engine is not healthy", "internal_error", None if chat else "400")
    )
    if "silent" in found:
        await asyncio.sleep(3600)
    if "error-first" in found:
        yield failure
        yield b"data: [DONE]\n\n"
        return
    if chat:
        for index in range(body.get("n") or 1):
            delta = {"role": "assistant", "content": "", "reasoning_content": "", "tool_calls": None}
            if body.get("return_token_ids"):
                delta |= {"prompt_token_ids": list(range(prompt)), "prompt_tokens": prompt_of(body)}
            # The first frame is the one with a space before its line ends.
            yield _data({**head, "choices": [{"index": index, "delta": delta}]}, end=b" \n\n")
    step = 0
    async for piece in generate(body, app[OPTIONS], "unthinking" in found):
        step += 1
        if piece.finish_reason and "recover" in found:
            piece.finish_reason = "recover_stop"
        counts[piece.index] = counts.get(piece.index, 0) + len(piece.tokens)
        if not (step == 1 and drops_first_replies()):
            yield _data({**head, "choices": [_choice(piece, body, chat)]})
        if step == 2 and "error-mid" in found:
            yield failure
            yield b"data: [DONE]\n\n"
            return
        if step == 2 and "hang" in found:
            await asyncio.sleep(3600)
        if step == 2 and "cut" in found:
            return
        if step == 2 and "die" in found:
            os._exit(0)
        if piece.finish_reason and not chat and (body.get("stream_options") or {}).get("include_usage"):
            # A completion tells the usage of each choice by itself.
            yield _data({**head, "choices": [], "usage": _usage(prompt, counts[piece.index])})
    if chat and (body.get("stream_options") or {}).get("include_usage", bool(body.get("stream_options") is not None)):
        yield _data({**head, "choices": [], "usage": _usage(prompt, sum(counts.values()))})
    yield b"data: [DONE]\n\n"


def _choice(piece: Piece, body: dict[str, Any], chat: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if body.get("return_token_ids"):
        # Despite their names these are text, not counts.
        extra = {"completion_token_ids": [7] * len(piece.tokens), "completion_tokens": "".join(piece.tokens)}
    choice: dict[str, Any] = {"index": piece.index, "arrival_time": 0.25}
    if chat:
        delta = {"content": piece.text, "reasoning_content": piece.reasoning, "tool_calls": piece.tool_calls}
        choice["delta"] = {**delta, "prompt_token_ids": None, **extra}
        if body.get("logprobs"):
            tops = [{"token": token, "logprob": -0.5, "bytes": list(token.encode())} for token in piece.tokens]
            choice["logprobs"] = {
                "content": [{**top, "top_logprobs": [top] * (body.get("top_logprobs") or 0)} for top in tops]
            }
    else:
        choice |= {"text": piece.text, "reasoning_content": piece.reasoning, "tool_calls": None, **extra}
        if body.get("logprobs"):
            tokens = piece.tokens
            choice["logprobs"] = {
                "tokens": tokens,
                "token_logprobs": [-0.5] * len(tokens),
                "top_logprobs": [{token: -0.5} for token in tokens],
                "text_offset": [0] * len(tokens),
            }
    if piece.finish_reason:
        choice["finish_reason"] = piece.finish_reason
    return choice


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _data(value: dict[str, Any], end: bytes = b"\n\n") -> bytes:
    return b"data: " + _dumps(value).encode() + end


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
