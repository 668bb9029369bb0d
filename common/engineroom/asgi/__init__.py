"""ASGI: its types, a client for apps in this process, a bounded buffer, and clients that leave."""

from __future__ import annotations

from .client import Response, request
from .disconnect import ClientDisconnected, Departure, InterruptibleRequest, RequestTimeoutError, disconnected, race
from .fast_path import FastPath, at_head, fast_path
from .held import HeldResponse
from .stream import Pump, StreamBuffer, StreamSource
from .types import (
    HANDOVER,
    ON_LEAVE,
    PIECES,
    RESERVATION,
    SENT,
    ASGIApp,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    header,
    send_body,
)

__all__ = [
    "HANDOVER",
    "ON_LEAVE",
    "PIECES",
    "RESERVATION",
    "SENT",
    "ASGIApp",
    "ClientDisconnected",
    "Departure",
    "FastPath",
    "Headers",
    "HeldResponse",
    "InterruptibleRequest",
    "Message",
    "Pump",
    "Receive",
    "RequestTimeoutError",
    "Response",
    "Scope",
    "Send",
    "StreamBuffer",
    "StreamSource",
    "at_head",
    "disconnected",
    "fast_path",
    "header",
    "race",
    "request",
    "send_body",
]
