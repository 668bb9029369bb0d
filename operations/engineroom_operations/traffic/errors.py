"""What can go wrong when one asks how traffic is best served."""

from __future__ import annotations

from engineroom.errors import EngineroomError


class TrafficError(EngineroomError):
    """A pattern of traffic cannot be read, or nothing serves it; the text says why."""
