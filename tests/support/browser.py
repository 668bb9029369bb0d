"""A real headless Chromium, driven over its DevTools protocol; tests skip where none is installed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from programs import need
from server_process import process_groups, until

# In a container /dev/shm has 64 MB, less than it may want; nor should it look for updates meanwhile.
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_OPTIONS += ("--disable-background-networking",)
_SIZE = {"width": 1100, "height": 1000}
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


class Browser:
    """A running Chromium. address: of its DevTools, `http://127.0.0.1:…`."""

    def __init__(self, address: str) -> None:
        self._address = address

    @asynccontextmanager
    async def tab(self, url: str) -> AsyncIterator[Tab]:
        """A tab with `url` open, in a profile of its own: nothing that others keep is there."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self._address}/json/version") as answer:
                whole = (await answer.json())["webSocketDebuggerUrl"]
            async with session.ws_connect(whole, max_msg_size=0) as socket:
                browser = Tab(socket)
                profile = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
                target = await browser.call("Target.createTarget", url="about:blank", **_SIZE, **profile)
                page = whole.replace("/devtools/browser/", "/devtools/page/").rpartition("/")[0]
                async with session.ws_connect(f"{page}/{target['targetId']}", max_msg_size=0) as its_socket:
                    opened = Tab(its_socket)
                    for domain in ("Runtime", "Log", "Page"):
                        await opened.call(f"{domain}.enable")
                    await opened.call("Page.navigate", url=url)
                    yield opened


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """A Chromium that keeps its files in `folder`; all its processes are killed at the end."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium is installed (tools/ci-packages.sh installs what tests need)")
    # Where it shows nothing by itself (a stub that names another package, missing libraries) it shows no page of ours.
    need(program, *_OPTIONS, "--dump-dom", "about:blank")
    options = ["--remote-debugging-port=0", f"--user-data-dir={folder}"]
    # Debian's program is a script that starts the browser, which starts others.
    with process_groups() as start:
        start([program, *_OPTIONS, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = folder / "DevToolsActivePort"
        until(lambda: port.is_file() and port.read_text())
        yield Browser(f"http://127.0.0.1:{port.read_text().split()[0]}")
