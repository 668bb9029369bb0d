"""A limit for a block that awaits: `async with timeout(seconds):`; it raises `asyncio.TimeoutError`.

`asyncio.wait_for` runs a coroutine as a task of its own before Python 3.12, and loses what that task raises where the
caller is cancelled at the same moment.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:
    from async_timeout import timeout

__all__ = ["timeout"]
