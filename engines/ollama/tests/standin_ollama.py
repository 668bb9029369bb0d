"""A stand-in for `ollama serve`, made from its documented API and its sources, as of 0.32.15. It has no model.

It says the last message, or the prompt, back. Its models are a JSON file in OLLAMA_MODELS; LIBRARY can be pulled.
A message with one of these words has it fail as Ollama does: `fails-amid`, `breaks-amid`, `repeats-itself`.
STANDIN_VERSION is its version; STANDIN_FAILS is written to stderr before it ends with 1;
with STANDIN_DIES_PULLING it is killed amid a pull.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

LIBRARY = {
    "llama3.2:1b": ["completion", "tools"],
    "qwen3:0.6b": ["completion", "tools", "thinking"],
    "gemma3:4b": ["completion", "vision"],
    "coder:latest": ["completion", "insert"],
    "huge:latest": ["completion"],
    "all-minilm:latest": ["embedding"],
    "hf.co/org/small-GGUF:Q4_K_M": ["completion"],
}
CONTEXT = int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or 4096)
PARALLEL = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 1)
_TOKEN = re.compile(r"\s*[^\W_]+|\s*.", re.DOTALL)
_LOADED_WITH = ("num_ctx", "num_gpu", "num_thread", "num_batch", "main_gpu", "use_mmap")

state: dict[str, Any] = {"running": 0, "loads": 0, "loaded": None, "runner": None, "asked": []}


def store() -> Path:
    folder = Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models")
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    return folder


def models() -> dict[str, list[str]]:
    file = store() / "standin.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def keep(name: str, capabilities: list[str]) -> None:
    (store() / "standin.json").write_text(json.dumps({**models(), name: capabilities}))


def full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def lines(call: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await answer.prepare(call)
    return answer


async def line(answer: web.StreamResponse, content: Mapping[str, Any]) -> None:
    await answer.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")


async def version(call: web.Request) -> web.Response:
    print('[GIN] 2026/01/01 - 00:00:00 | 200 |      21.583µs |       127.0.0.1 | GET      "/api/version"', flush=True)
    return web.json_response({"version": os.environ.get("STANDIN_VERSION", "0.32.15")})


async def show(call: web.Request) -> web.Response:
    name = full((await call.json())["model"])
    if name not in models():
        return error(404, f"model '{name}' not found")
    return web.json_response({"modelfile": "", "capabilities": models()[name]})


async def pull(call: web.Request) -> web.StreamResponse:
    name = full((await call.json())["model"])
    answer = await lines(call)
    await line(answer, {"status": "pulling manifest"})
    if name not in LIBRARY:
        await line(answer, {"error": "pull model manifest: file does not exist"})
        return answer
    for done in (0, 500, 1000):
        for digest, total in (("sha256:aa", 1000), ("sha256:bb", 3000)):
            piece = {"status": f"pulling {digest}", "digest": digest, "total": total}
            await line(answer, {**piece, **({"completed": done * total // 1000} if done else {})})
        if "STANDIN_DIES_PULLING" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(float(os.environ.get("STANDIN_PULL_S", "0")))
    keep(name, LIBRARY[name])
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        await line(answer, {"status": status})
    return answer


async def blob(call: web.Request) -> web.Response:
    digest = call.match_info["digest"]
    file = store() / "blobs" / digest.replace(":", "-")
    if call.method == "HEAD":
        return web.Response(status=200 if file.exists() else 404)
    data = await call.read()
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        return error(400, "digest mismatch")
    file.write_bytes(data)
    return web.Response(status=201)


async def create(call: web.Request) -> web.StreamResponse:
    body = await call.json()
    answer = await lines(call)
    for digest in body["files"].values():
        data = (store() / "blobs" / digest.replace(":", "-")).read_bytes()
        if not data.startswith(b"GGUF") and not any(name.endswith(".safetensors") for name in body["files"]):
            await line(answer, {"error": "supplied file was not in GGUF format"})
            return answer
    keep(full(body["model"]), ["completion"])
    await line(answer, {"status": "success"})
    return answer


def load(body: dict[str, Any], shift: bool) -> web.Response | None:
    """Load the model, anew where the request has other options of loading than the last; the error that ends that."""
    name = full(body["model"])
    if name not in models():
        return error(404, f"model '{body['model']}' not found")
    if name.startswith("huge") and CONTEXT * PARALLEL > 4096:
        return error(500, "model requires more system memory (48.0 GiB) than is available (22.1 GiB)")
    with_ = [name, shift, {key: value for key, value in body.get("options", {}).items() if key in _LOADED_WITH}]
    if state["loaded"] != with_:
        if state["runner"]:
            state["runner"].kill()
        # As its own runners are; one that leaves the process group is the harder to end.
        runner = ["/usr/lib/ollama/llama-server", "1000"]
        state["runner"] = subprocess.Popen(runner, executable=shutil.which("sleep"), start_new_session=True)
        state.update(loaded=with_, loads=state["loads"] + 1)
    return None


async def embed(call: web.Request) -> web.Response:
    body = await call.json()
    if refused := load(body, False):
        return refused
    state["asked"].append(body)
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if any(len(_TOKEN.findall(text)) > CONTEXT for text in texts) and body.get("truncate") is False:
        return error(400, "the input length exceeds the context length")
    vectors = [[0.5, -0.25, float(len(text)), 1.0][: body.get("dimensions") or 4] for text in texts]
    count = sum(len(_TOKEN.findall(text)) for text in texts)
    return web.json_response({"model": body["model"], "embeddings": vectors, "prompt_eval_count": count})


async def generate(call: web.Request) -> web.StreamResponse:
    """`/api/chat` and `/api/generate`."""
    body = await call.json()
    chat = call.path == "/api/chat"
    if refused := load(body, body.get("shift", True)):
        return refused
    able = models()[full(body["model"])]
    if "completion" not in able:
        return error(400, f'"{body["model"]}" does not support {"chat" if chat else "generate"}')
    if body.get("think") and "thinking" not in able:
        return error(400, f'"{body["model"]}" does not support thinking')
    if body.get("suffix") and "insert" not in able:
        return error(400, f"{body['model']} does not support insert")
    if not chat and not body.get("prompt"):
        return web.json_response({"model": body["model"], "response": "", "done": True, "done_reason": "load"})
    state["asked"].append(body)
    messages = body.get("messages") or [{"content": body.get("prompt", "")}]
    said = messages[-1]["content"] if chat or body.get("raw") else f"<|user|>{body['prompt']}"
    prompt = sum(len(_TOKEN.findall(message["content"])) for message in messages)
    if prompt > CONTEXT and body.get("truncate") is False:
        # What its runner answers, as it comes.
        reason = f"request ({prompt} tokens) exceeds the available context size ({CONTEXT} tokens), try increasing it"
        inner = {
            "error": {"code": 400, "message": reason, "type": "exceed_context_size_error", "n_prompt_tokens": prompt}
        }
        return error(400, json.dumps(inner))
    state["running"] += 1
    try:
        return await answer(call, body, chat, said, prompt, "thinking" in able and body.get("think") is not False)
    finally:
        state["running"] -= 1


async def answer(
    call: web.Request, body: dict[str, Any], chat: bool, said: str, prompt: int, thinks: bool
) -> web.StreamResponse:
    options = body.get("options", {})
    if body.get("format"):
        said = json.dumps({} if body["format"] == "json" else example(body["format"]), ensure_ascii=False)
    words = _TOKEN.findall(said) or ["?"]
    limit = len(words) if body.get("format") else options.get("num_predict", len(words))
    words = [words[number % len(words)] for number in range(limit)]
    text = "".join(words)
    ends = [text.find(stop) for stop in options.get("stop", []) if stop in text]
    reason = "length" if limit not in (len(_TOKEN.findall(said)), len(words) if body.get("format") else -1) else "stop"
    if ends:
        words = _TOKEN.findall(text[: min(ends)])
        reason = "stop"
    whole: list[dict[str, Any]] = []
    response = web.StreamResponse() if body.get("stream") is False else await lines(call)

    async def piece(done: bool = False, thinking: str = "", content: str = "", **more: Any) -> None:
        what: dict[str, Any] = {"role": "assistant", "content": content, **({"thinking": thinking} if thinking else {})}
        what |= {"tool_calls": more.pop("tool_calls")} if "tool_calls" in more else {}
        where = {"message": what} if chat else {"response": content}
        content_of_line = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", **where, "done": done, **more}
        whole.append(content_of_line)
        if body.get("stream") is not False:
            await line(response, content_of_line)

    if thinks:
        await piece(thinking="Well, ")
        await piece(thinking="then.")
    tools = [tool["function"]["name"] for tool in body.get("tools", ()) if tool["function"]["name"] in said]
    if tools:
        calls = [
            {"id": f"call_{name}", "function": {"index": 0, "name": name, "arguments": {"city": "Pärnu"}}}
            for name in tools
        ]
        await piece(tool_calls=calls)
        words = []
    for number, word in enumerate(words):
        entry = {"token": word, "logprob": -0.5, "bytes": list(word.encode())}
        top = [
            {**entry, "token": "x" * (rank + 1), "logprob": -rank - 1.0} for rank in range(body.get("top_logprobs", 0))
        ]
        await piece(content=word, **({"logprobs": [{**entry, "top_logprobs": top}]} if body.get("logprobs") else {}))
        await asyncio.sleep(0.001)
        if number == 1 and "fails-amid" in said:
            await line(
                response, {"error": "model runner has unexpectedly stopped, this may be due to resource limitations"}
            )
            return response
        if number == 1 and "breaks-amid" in said:
            assert call.transport is not None
            call.transport.abort()
            return response
    if "repeats-itself" not in text:
        counts = {"prompt_eval_count": prompt, "eval_count": max(1, len(words))}
        await piece(done=True, done_reason=reason, **counts)
    return web.json_response(whole[-1]) if body.get("stream") is False else response


def example(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
    return {"boolean": True, "integer": 1, "number": 1.5, "array": []}.get(schema.get("type", ""), "Paris")


async def listed(call: web.Request) -> web.Response:
    """All that is in its folder."""
    data = [{"id": name, "object": "model", "created": 1767225600, "owned_by": "library"} for name in models()]
    return web.json_response({"object": "list", "data": data or None})


async def about(call: web.Request) -> web.Response:
    """What this stand-in has seen."""
    pid = state["runner"].pid if state["runner"] else None
    return web.json_response({**state, "runner": pid, "environ": dict(os.environ)})


async def main() -> None:
    print('time=2026-01-01T00:00:00.000Z level=INFO source=routes.go:2026 msg="Listening"', file=sys.stderr, flush=True)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/api/version", version)
    app.router.add_post("/api/show", show)
    app.router.add_post("/api/pull", pull)
    app.router.add_route("HEAD", "/api/blobs/{digest}", blob)
    app.router.add_post("/api/blobs/{digest}", blob)
    app.router.add_post("/api/create", create)
    app.router.add_post("/api/chat", generate)
    app.router.add_post("/api/generate", generate)
    app.router.add_post("/api/embed", embed)
    app.router.add_get("/v1/models", listed)
    app.router.add_get("/standin", about)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    await web.TCPSite(runner, host, int(port)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if failing := os.environ.get("STANDIN_FAILS"):
        sys.exit(failing)
    assert sys.argv[1] == "serve", sys.argv
    asyncio.run(main())
