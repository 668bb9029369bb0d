"""A real headless Chromium, driven over its DevTools protocol; tests skip where none is installed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from programs import need

# In a container /dev/shm has 64 MB, less than it may want; nor should it look for updates meanwhile.
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_OPTIONS += ("--disable-background-networking",)
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


class Tab:
    """One page. errors: what its console and its policy complained of."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    async def run(self, script: str) -> Any:
        """The value of a script."""
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        # While the page loads, what the script looks for may not be there.
        script = f"(() => {{ try {{ return {script} }} catch {{ return false }} }})()"
        while not await self.run(script):
            assert time.monotonic() < deadline, (script, self.errors)
            await asyncio.sleep(0.05)

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def tab(url: str, folder: Path) -> AsyncIterator[Tab]:
    """A tab with `url` open, in a browser of its own."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium is installed (tools/ci-packages.sh installs what tests need)")
    # Where it shows nothing by itself (a stub that names another package, missing libraries) it shows no page of ours.
    need(program, *_OPTIONS, "--dump-dom", "about:blank")
    options = ["--remote-debugging-port=0", "--window-size=1100,1000", f"--user-data-dir={folder}"]
    process = _started([program, *_OPTIONS, *options, "about:blank"])
    try:
        port = await _port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
                address = (await answer.json())["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                opened = Tab(socket)
                for domain in ("Runtime", "Log", "Page"):
                    await opened.call(f"{domain}.enable")
                await opened.call("Page.navigate", url=url)
                yield opened
    finally:
        # Debian's program is a script that starts the browser, which starts others.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


async def _port(file: Path) -> int:
    deadline = time.monotonic() + 60
    while not file.is_file() or not file.read_text():
        assert time.monotonic() < deadline, "the browser did not start"
        await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])
