"""Settings that all doors share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from engineroom.settings import OtherName, Settings, refused


class DoorSettings(Settings):
    """How a door shuts."""

    title: ClassVar[str] = "Doors"
    other_names: ClassVar[Mapping[str, OtherName]] = refused(
        "DRAIN_TIMEOUT",
        "a number of seconds",
        (
            "GRACEFUL_SHUTDOWN_TIMEOUT",
            "GRACEFUL_TIMEOUT",
            "SHUTDOWN_TIMEOUT",
            "TERMINATION_GRACE_PERIOD",
            "TIMEOUT_GRACEFUL_SHUTDOWN",
            "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN",
        ),
    )

    drain_timeout: float = Field(
        30,
        ge=0,
        description="Seconds that running requests have to finish after SIGTERM. After that they end with an error.",
    )
