"""The faults on request, and errors in the words and under the statuses in which FastDeploy sends them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

FAULTS = {
    "error-first",  # an error frame under HTTP 200, nothing before it
    "error-mid",  # the same after two tokens
    "hang",  # silence after two tokens
    "silent",  # silence from the start
    "cut",  # the stream ends without [DONE]
    "die",  # the process dies after two tokens
    "invalid",  # 500 for a bad request, with a traceback
    "waiting",  # 500 for one that waited too long for its turn
    "internal",  # 500 with a path in the message
    "busy",  # 429
    "cleared",  # 304: the weights are not loaded
    "recover",  # the answer ends early for want of cache blocks
    "unthinking",  # reasoning that never ends: no </think>
}

_FRAME = "/usr/local/lib/python3.10/dist-packages/fastdeploy/entrypoints/openai/serving_chat.py"
TRACEBACK = f'Traceback (most recent call last):\n  File "{_FRAME}", line 152, in create_chat_completion\nEngineError\n'


def faults(body: dict[str, Any]) -> set[str]:
    """The faults that a request asks for."""
    user = body.get("user") or ""
    found = set(user.removeprefix("standin:").split(",")) if user.startswith("standin:") else set()
    if unknown := found - FAULTS:
        raise ValueError(f"the stand-in has no fault {sorted(unknown)}")
    return found


def error(
    message: str, type: str, *, status: int = 500, code: str | None = None, param: str | None = None
) -> web.Response:
    """An error body as the handlers write it: 500, whatever its type."""
    return web.json_response(error_fields(message, type, code, param), status=status)


def error_fields(message: str, type: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def refused(request_id: str, message: str) -> web.Response:
    """What a handler answers when it cannot even queue a request."""
    return error(f"request[{request_id}] generator error: {message}, {TRACEBACK}", "invalid_request_error")


def answer(found: set[str], request_id: str) -> web.Response | None:
    """The whole answer for faults that come before any token; None for others."""
    if "invalid" in found:
        return refused(
            request_id, "Input text is too long, input_ids_len (9000) + min_tokens(1) >= max_model_len(2048)"
        )
    if "waiting" in found:
        return error(
            f"request[{request_id}] waiting error: , {TRACEBACK}, max waiting time: 1", "timeout_error", code="timeout"
        )
    if "internal" in found:
        return error(f"cannot open /root/PaddlePaddle/model/vocab.txt, {TRACEBACK}", "internal_error")
    if "busy" in found:
        return web.json_response({"detail": "Too many requests,current max concurrency is 512"}, status=429)
    if "cleared" in found:
        return web.json_response({"error": "Worker Service Not Healthy"}, status=304)
    return None
