"""What a person reads once the model is there: where it is, and a request to paste."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from typing import TYPE_CHECKING

from ..loading import model

if TYPE_CHECKING:
    from .served import Served

logger = logging.getLogger(__name__)


def ready(engine: Served, url: str) -> None:
    """Print where the model is and a request to paste; to a log instead, that line and the start's phases."""
    name = model(engine)
    if not sys.stderr.isatty():
        engine.timeline.log()
        logger.info("ready: %s serves %s on %s", engine.name, name, url)
        return
    seconds = engine.timeline.marks[-1][1]
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "What is 2+2?"}]}, ensure_ascii=False)
    sys.stderr.write(
        f"\n  {name} is ready after {seconds:.1f} s. Any OpenAI client can use it at {url}/v1:\n\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n    -d {shlex.quote(body)}\n\n"
        "  Ctrl-C stops it.\n\n"
    )
