"""Settings that all doors share."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from engineroom.settings import Settings


class DoorSettings(Settings):
    """How a door shuts."""

    title: ClassVar[str] = "Doors"

    drain_timeout: float = Field(
        30,
        ge=0,
        description="Seconds that running requests have to finish after SIGTERM. After that they end with an error.",
    )
