"""Engines that are server processes: one is started, watched, and spoken to over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .address import Address, free_port, free_ports
from .diagnostics import Cause, Diagnostics, Situation, diagnose, diagnose_exception, safer_settings, variable_of
from .engine import ServerEngine
from .joined import JoinedEngine, join_engine
from .library_causes import LIBRARY_CAUSES
from .python import EnginePython, find_python
from .read_ahead import ReadAhead
from .tool_probe import narrow_tools

if TYPE_CHECKING:
    from .connection import Upstream
    from .fan_out import FanOutProxy
    from .proxy import Proxy
    from .streamed_proxy import StreamedProxy, StreamRewriter

__all__ = [
    "LIBRARY_CAUSES",
    "Address",
    "Cause",
    "Diagnostics",
    "EnginePython",
    "FanOutProxy",
    "JoinedEngine",
    "Proxy",
    "ReadAhead",
    "ServerEngine",
    "Situation",
    "StreamRewriter",
    "StreamedProxy",
    "Upstream",
    "diagnose",
    "diagnose_exception",
    "find_python",
    "free_port",
    "free_ports",
    "join_engine",
    "narrow_tools",
    "safer_settings",
    "variable_of",
]

_LAZY = {
    "Upstream": "connection",
    "FanOutProxy": "fan_out",
    "Proxy": "proxy",
    "StreamRewriter": "streamed_proxy",
    "StreamedProxy": "streamed_proxy",
}
"""Names whose modules a start does not need before it has spawned its engine: they load when asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
