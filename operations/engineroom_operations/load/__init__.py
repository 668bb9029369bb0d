"""Requests to a server of OpenAI's API, many at a time, and what a client sees of each.

`HTTPClient` keeps connections, a `Sender` sends what an `Ask` asks for, a `LoadLoop` sends many, and a `Measurement`
has the moments and tokens of one. `engineroom bench` and the programs in benchmarks/ have it all from here.
"""

from __future__ import annotations

from .arrivals import Arrivals
from .failure import RequestFailure
from .http_client import HTTPClient, WholeResponse
from .loop import Extent, LoadLoop
from .measurement import Measurement
from .sender import Ask, OpenAISender, Sender

__all__ = [
    "Arrivals",
    "Ask",
    "Extent",
    "HTTPClient",
    "LoadLoop",
    "Measurement",
    "OpenAISender",
    "RequestFailure",
    "Sender",
    "WholeResponse",
]
