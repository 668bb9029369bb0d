"""What is seen while the chat's own server loads its model."""

from __future__ import annotations

import asyncio
import sys
import time

from .own_server import OwnServer


async def shown_loading(server: OwnServer, model: str, interactive: bool) -> None:
    """Wait until the server is ready, with a spinner on a terminal.

    Raises:
        ServeFailed: it ended.
    """
    if not (interactive and sys.stderr.isatty()):
        await server.ready()
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    began = time.monotonic()
    spinner = Spinner("dots", style="dim")
    with Live(spinner, console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        async def draw() -> None:
            while True:
                seconds = time.monotonic() - began
                text = f"starting {model} {seconds:.0f} s  {server.last_line}"
                spinner.update(text=Text(text, style="dim", no_wrap=True, overflow="ellipsis"))
                live.refresh()
                await asyncio.sleep(0.1)

        drawing = asyncio.ensure_future(draw())
        try:
            await server.ready()
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
