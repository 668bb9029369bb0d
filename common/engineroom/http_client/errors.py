"""What a request raises that is not answered."""

from __future__ import annotations

import asyncio


class ConnectionFailedError(ConnectionError):
    """There is no connection to be had; raised from the system's own error."""


class ConnectionLostError(ConnectionError):
    """The server closed or reset the connection before its response was complete."""


class InvalidResponseError(ConnectionError):
    """What the server sent is no HTTP/1.1, or goes beyond a limit of this client."""


class ResponseTimeoutError(asyncio.TimeoutError):
    """The server was silent for too long, or did not take the connection in time."""


FAILURES = (OSError, asyncio.TimeoutError)
"""All of them. asyncio's own TimeoutError is another than Python's before 3.11."""
