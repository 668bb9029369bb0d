"""Child processes: each is owned, watched, and cleaned up, also when its owner is killed."""

from __future__ import annotations

from .child import Process

__all__ = ["Process"]
