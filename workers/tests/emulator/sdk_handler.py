"""A worker on RunPod's own SDK and its own loop, as a script: the job's input instructs it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from engineroom_workers.runpod import sdk

runpod = sdk.whole()


async def stream(job: dict[str, Any]) -> AsyncIterator[Any]:
    instructions = job["input"]
    if "openai_route" in instructions:
        instructions = openai(instructions)
    for item in instructions.get("progress", ()):
        runpod.serverless.progress_update(job, item)
        await asyncio.sleep(0.3)
    try:
        for item in instructions.get("items", ()):
            yield item
        if "raise" in instructions:
            raise RuntimeError(instructions["raise"])
        if "hang" in instructions:
            await asyncio.sleep(600)
    finally:
        # Where the test looks for proof that the SDK stopped this very job, be it still at its last item.
        if "hang" in instructions:
            Path(instructions["hang"]).write_text("stopped")


def openai(instructions: dict[str, Any]) -> dict[str, Any]:
    body = instructions.get("openai_input")
    if instructions["openai_route"] == "/v1/models":
        return {"items": [{"object": "list", "data": [{"id": str(body), "object": "model"}]}]}
    return body["metadata"]


async def plain(job: dict[str, Any]) -> Any:
    return job["input"].get("return")


if __name__ == "__main__":
    runpod.serverless.start(
        {
            "handler": {"stream": stream, "plain": plain}[os.environ.get("HANDLER", "stream")],
            "return_aggregate_stream": True,
            "concurrency_modifier": lambda current: 4,
        }
    )
