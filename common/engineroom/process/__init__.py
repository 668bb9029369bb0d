"""Child processes, which are watched and always cleaned up, also if the process that started them is killed."""

from __future__ import annotations

from .child import Process

__all__ = ["Process"]
