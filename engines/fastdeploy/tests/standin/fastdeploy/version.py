"""Which FastDeploy the stand-in plays, as its metadata says, and what that version can."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

VERSION = tuple(int(part) for part in version("fastdeploy-gpu").split(".")[:2])

_FLAGS = Path(__file__).resolve().parents[3] / "engineroom_fastdeploy" / "flags"


def options() -> dict[str, Any]:
    """Every destination that this version's parser has, with its default."""
    table = json.loads((_FLAGS / f"{VERSION[0]}.{VERSION[1]}.json").read_text())
    return {flag["name"]: flag.get("default") for flag in table["flags"]}


def stops_on_disconnect() -> bool:
    """2.6 aborts when a client goes, 2.5 where a variable asks for it, older ones never."""
    default = {(2, 5): "0", (2, 6): "1"}.get(VERSION)
    return default is not None and os.environ.get("FD_ENABLE_REQUEST_DISCONNECT_STOP_INFERENCE", default) == "1"


def drops_first_replies() -> bool:
    """2.6's batched replies may arrive before anybody listens; the stand-in loses every first one."""
    return VERSION >= (2, 6) and os.environ.get("ZMQ_SEND_BATCH_DATA", "1") == "1"
