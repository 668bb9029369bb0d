"""ASGI: its types, a client for apps in this process, and clients that leave."""

from __future__ import annotations

from .client import Response, request
from .disconnect import ClientDisconnected, disconnected, race
from .types import ASGIApp, Headers, Message, Receive, Scope, Send, header, send_body

__all__ = [
    "ASGIApp",
    "ClientDisconnected",
    "Headers",
    "Message",
    "Receive",
    "Response",
    "Scope",
    "Send",
    "disconnected",
    "header",
    "race",
    "request",
    "send_body",
]
