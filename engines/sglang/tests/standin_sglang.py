"""A stand-in for `python -m sglang.launch_server`, made from its sources (0.5.23). No model, and none of its code.

The echo engine answers; around it are SGLang's routes, its form of errors, its metrics, and what it passes over without
a word. STANDIN_WARMUP_S is how long its health check answers 503, STANDIN_LOG a line that it ends with, as a start that
fails; with STANDIN_KILLS_ITSELF by signal 9, as SGLang where a process of its own has failed. GET /standin tells the
requests that have come.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import msgspec
import uvicorn

from engineroom.asgi import Message, Receive, Scope, Send, send_body
from engineroom.settings import Environment, WorkerSettings
from engineroom_echo import EchoEngine

OPENAI = {
    *("echo", "encoding_format", "dimensions", "frequency_penalty", "ignore_eos", "input", "logit_bias", "logprobs"),
    *("max_completion_tokens", "max_tokens", "messages", "min_p", "model", "n", "parallel_tool_calls"),
    *("presence_penalty", "prompt", "reasoning_effort", "repetition_penalty", "response_format", "seed", "stop"),
    *("stream", "stream_options", "temperature", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user"),
}
"""What the echo engine knows; the rest of what SGLang takes means nothing to it."""


def option(name: str, otherwise: str = "") -> str:
    """A flag's value on the command line."""
    return next((each.partition("=")[2] for each in sys.argv if each.startswith(f"{name}=")), otherwise)


class Standin:
    """Its server."""

    def __init__(self, engine: EchoEngine) -> None:
        self._engine = engine
        self._running = 0
        self._prompt_tokens = 0
        self._tokens = 0
        self._asked: list[dict[str, Any]] = []
        self._adapters: dict[str, str] = {}
        self._ready_at = asyncio.get_running_loop().time() + float(os.environ.get("STANDIN_WARMUP_S", "0"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/health":
            ready = asyncio.get_running_loop().time() >= self._ready_at
            await send_body(send, 200 if ready else 503, b"", b"text/plain")
        elif path == "/metrics":
            await send_body(send, 200, self._metrics().encode(), b"text/plain")
        elif path == "/standin":
            await send_body(send, 200, msgspec.json.encode({"asked": self._asked}), b"application/json")
        elif scope["method"] == "POST":
            await self._post(path, scope, receive, send)
        else:
            await self._engine.app(scope, receive, send)

    def _metrics(self) -> str:
        labels = f'{{model_name="{self._engine.models[0]}"}}'
        return "".join(
            f"sglang:{name}{labels} {value}\n"
            for name, value in {
                "num_running_reqs": self._running,
                "num_queue_reqs": 0,
                "token_usage": 0.01 * self._running,
                "prompt_tokens_total": self._prompt_tokens,
                "generation_tokens_total": self._tokens,
            }.items()
        )

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = msgspec.json.decode(body or b"{}")
        self._asked.append({"path": path, **asked})
        if path in ("/load_lora_adapter", "/unload_lora_adapter"):
            await self._adapter(path, asked, send)
        elif path == "/v1/rerank":
            scores = [{"score": 1 - 0.1 * i, "document": each, "index": i} for i, each in enumerate(asked["documents"])]
            await send_body(send, 200, msgspec.json.encode(scores), b"application/json")
        elif path == "/generate":
            answer = {"text": str(asked.get("text")), "meta_info": {"finish_reason": {"type": "stop"}}}
            await send_body(send, 200, msgspec.json.encode(answer), b"application/json")
        else:
            await self._echo(asked, scope, receive, send)

    async def _adapter(self, path: str, asked: dict[str, Any], send: Send) -> None:
        name = asked["lora_name"]
        if path.startswith("/load"):
            success = name not in self._adapters and name != "broken"
            self._adapters[name] = asked["lora_path"]
        else:
            success = self._adapters.pop(name, None) is not None
        answer = {
            "success": success,
            "error_message": None if success else f"{name}: its rank is too large",
            "loaded_adapters": {},
        }
        await send_body(send, 200 if success else 400, msgspec.json.encode(answer), b"application/json")

    async def _echo(self, asked: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        known = {name: value for name, value in asked.items() if name in OPENAI}
        known["model"] = self._engine.models[0]
        if "messages" in known:
            known["return_stop_reason"] = True
        if asked.get("lora_path"):
            known.setdefault("max_tokens", 3)
        sent = False

        async def receive_known() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": msgspec.json.encode(known), "more_body": False}

        head: Message = {}
        self._running += 1

        async def send_as_sglang(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message
                if _streams(head):
                    await send(head)
                return
            # Its own name for the stop string that ended a choice.
            part = message.get("body", b"").replace(b'"stop_reason":', b'"matched_stop":')
            self._tokens += part.count(b'"content":') + part.count(b'"text":')
            self._prompt_tokens += 1
            if _streams(head):
                await send({**message, "body": part})
            else:
                status = head["status"]
                await send_body(send, status, part if status < 400 else _error(part, status), b"application/json")

        headers = [(b"content-type", b"application/json")]
        try:
            await self._engine.app({**scope, "headers": headers}, receive_known, send_as_sglang)
        finally:
            self._running -= 1


def _streams(head: Message) -> bool:
    return any(value.startswith(b"text/event-stream") for _, value in head["headers"])


def _error(body: bytes, status: int) -> bytes:
    """An error in SGLang's form, and its words for a prompt that is too long."""
    error = msgspec.json.decode(body)["error"]
    message = error["message"]
    if error.get("code") == "context_length_exceeded":
        message = "The input (9999 tokens) is longer than the model's context length (2048 tokens)."
    kind = "BadRequestError" if status < 500 else "InternalServerError"
    return msgspec.json.encode(
        {"object": "error", "message": message, "type": kind, "param": error.get("param"), "code": status}
    )


async def main() -> None:
    if os.environ.get("STANDIN_LOG"):
        print(os.environ["STANDIN_LOG"], file=sys.stderr, flush=True)
        if os.environ.get("STANDIN_KILLS_ITSELF"):
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(1)
    length = option("--context-length", "131072")
    names = {"MODEL_NAME": option("--served-model-name", "model"), "ECHO_MAX_MODEL_LEN": length, "MAX_CHOICES": "128"}
    env = Environment.of({**names, "ECHO_TOKENS_PER_S": "500"})
    engine = EchoEngine.configure(WorkerSettings.load(env), env)
    await engine.start()
    print(json.dumps({"argv": sys.argv}), file=sys.stderr)
    app = Standin(engine)
    config = uvicorn.Config(app, host=option("--host"), port=int(option("--port")), log_level="warning", lifespan="off")
    await uvicorn.Server(config).serve()


asyncio.run(main())
