"""A thread that hangs cannot be ended; the process of its engine ends all the same."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import asyncio
import threading

from engineroom.asgi import request
from engineroom.in_process import TokenEngine
from engineroom.settings import Environment, WorkerSettings


class StuckEngine(TokenEngine):
    name = "stuck"
    max_model_len = 100

    @classmethod
    def settings(cls, env):
        return ()

    @classmethod
    def configure(cls, worker, env):
        return cls(worker)

    async def load(self):
        self.thread = threading.Thread(target=threading.Event().wait)
        self.thread.start()

    async def unload(self):
        pass

    def working_threads(self):
        return (self.thread,)

    def tokenize(self, text):
        return list(text.encode())

    def chat_prompt(self, messages, params):
        return [1]

    async def generate_tokens(self, request):
        await asyncio.Event().wait()
        yield


async def main():
    engine = StuckEngine(WorkerSettings.load(Environment.of({"ENGINE_HANG_TIMEOUT": 1})))
    await engine.start()
    body = {"model": "stuck", "messages": [{"role": "user", "content": "Hi"}]}
    async with request(engine.app, "POST", "/v1/chat/completions", json=body) as response:
        print(response.status, (await response.read()).decode())
    print(await engine.died())
    await engine.stop()


asyncio.run(main())
"""


def test_it_ends_with_1() -> None:
    # Python keeps what is printed to a pipe back, where the shell does not say otherwise: none of it may be lost.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1, ended.stderr
    assert "503" in ended.stdout
    assert "stuck hung: nothing generated for 1" in ended.stdout
