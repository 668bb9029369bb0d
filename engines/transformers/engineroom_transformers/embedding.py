"""Embeddings: an encoder's states pooled into one vector a text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loading import Loaded

_TOKENS_AT_A_TIME = 8192
_GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_KNOWN = {"mean", "cls", "lasttoken", "Transformer", "Pooling", "Normalize"}
"""Ways of pooling, and modules of sentence-transformers, that are here."""


def pooling(folder: Path, config: Any) -> str | None:
    """`mean`, `cls` or `lasttoken` for a model whose states are embeddings, as sentence-transformers' files say.

    Raises:
        NotImplementedError: it makes its vectors in another way.
    """
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        names = config.architectures or []
        return None if not names or any(name.endswith(_GENERATES) for name in names) else "mean"
    told = json.loads(file.read_bytes()).items()
    modes = [str(value if isinstance(value, str) else key) for key, value in told if "pooling_mode" in key and value]
    modes = [re.sub(r"^pooling_mode_|_tokens?$", "", mode) for mode in modes] or ["mean"]
    listed = folder / "modules.json"
    modules = json.loads(listed.read_bytes()) if listed.is_file() else []
    if other := {*modes, *(module["type"].rpartition(".")[2] for module in modules)} - _KNOWN:
        raise NotImplementedError(f"its vectors need {' and '.join(sorted(other))}, which this engine does not have")
    if len(modes) > 1:
        raise NotImplementedError(f"its vectors are {' and '.join(modes)} pooling side by side; this engine has one")
    return modes[0]


def embed(loaded: Loaded, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """One vector of length 1 for each prompt; blocks. Prompts of like length share a batch."""
    vectors: dict[int, list[float]] = {}
    batch: list[int] = []
    for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
        if batch and len(prompts[number]) * (len(batch) + 1) > _TOKENS_AT_A_TIME:
            vectors.update(zip(batch, _pooled(loaded, [prompts[n] for n in batch]), strict=True))
            batch = []
        batch.append(number)
    vectors.update(zip(batch, _pooled(loaded, [prompts[n] for n in batch]), strict=True))
    return [vectors[number] for number in range(len(prompts))]


def _pooled(loaded: Loaded, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    import torch

    longest = max(map(len, prompts))
    ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=loaded.model.device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=ids.device)
    mask = torch.arange(longest, device=ids.device) < lengths[:, None]
    with torch.inference_mode():
        states = loaded.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    if loaded.pooling == "cls":
        pooled = states[:, 0]
    elif loaded.pooling == "lasttoken":
        pooled = states[torch.arange(len(prompts)), lengths - 1]
    else:
        pooled = (states * mask[..., None]).sum(1) / lengths[:, None]
    vectors: list[list[float]] = torch.nn.functional.normalize(pooled.float(), dim=-1).tolist()
    return vectors
