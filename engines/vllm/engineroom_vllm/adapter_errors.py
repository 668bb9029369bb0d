"""Why vLLM does not load an adapter, in words for whoever asked for it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from engineroom.adapters import Adapter
from engineroom.errors import APIError

logger = logging.getLogger(__name__)

_CAUSES = (
    (
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank (?P<limit>\d+)",
        "its rank is {rank}, and this server takes up to {limit} (MAX_LORA_RANK)",
    ),
    (r"No adapter found for", "its files are not complete"),
    (
        r"expected target modules in .*? but received (?P<modules>\[[^\]]*\])",
        "it changes {modules}, which this model has not got: it was made for another",
    ),
    (
        r"The size of tensor a \(\d+\) must match|size mismatch|shape '?\[|must match the size|cannot be broadcast",
        "it was made for a model of another size",
    ),
    (r"Missing required configuration fields: (?P<fields>.*)", "its adapter_config.json lacks {fields}"),
    (r"deserializing header|HeaderTooLarge|InvalidHeader|MetadataIncompleteBuffer", "its weights are damaged"),
)
_AROUND = re.compile(
    r"Call to add_lora method failed: |Worker failed with error '|', please check the stack trace above.*"
)
"""What vLLM writes around the reason."""
_LONGEST = 300


def explained(adapter: Adapter, place: Path, error: APIError) -> APIError:
    """vLLM's error as a client is told it: a 400 where the adapter is at fault, which another try does not help.

    Args:
        place: what vLLM was told to load, which no client is to read.
    """
    logger.warning("vLLM does not load the adapter %s from %s: %s", adapter.name, adapter.path, error)
    if error.status in (503, 504):
        return error
    text = error.message.replace(str(place), adapter.name).replace(str(adapter.path), adapter.name)
    why = _AROUND.sub("", text).strip().partition("\n")[0][:_LONGEST].rstrip(".") or "vLLM does not say why"
    for pattern, sentence in _CAUSES:
        if match := re.search(pattern, text):
            why = sentence.format(**match.groupdict())
            break
    return APIError(
        f"The adapter `{adapter.name}` cannot be loaded: {why}.", param="model", code="adapter_not_loadable"
    )
