"""The HTTP door's settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from engineroom.settings import Settings


class HTTPSettings(Settings):
    """Where the HTTP door listens."""

    title: ClassVar[str] = "HTTP door"

    host: str = Field("127.0.0.1", description="The address to listen on; `0.0.0.0` for all, as in a container.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    port_health: int | None = Field(
        None, ge=0, le=65535, description="A second port that answers the same, for load balancers that want one."
    )
