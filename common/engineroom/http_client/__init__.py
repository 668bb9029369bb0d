"""A client of HTTP/1.1 for streamed responses: one server, connections that are kept, no task or future a piece."""

from .errors import (
    FAILURES,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidResponseError,
    ResponseTimeoutError,
)
from .origin import Origin
from .pool import ConnectionPool
from .response import RelayableResponse, ServerResponse, Sink

__all__ = [
    "FAILURES",
    "ConnectionFailedError",
    "ConnectionLostError",
    "ConnectionPool",
    "InvalidResponseError",
    "Origin",
    "RelayableResponse",
    "ResponseTimeoutError",
    "ServerResponse",
    "Sink",
]
