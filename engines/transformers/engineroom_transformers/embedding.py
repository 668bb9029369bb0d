"""Embeddings: an encoder's states pooled into one vector a text."""

from __future__ import annotations

from collections.abc import Sequence

from .loading import LoadedModel

_BATCH_TOKENS = 8192
"""Tokens of one batch, padding included: what limits the memory that a request for embeddings takes."""


def embed(loaded: LoadedModel, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """One vector of length 1 for each prompt; blocks. Prompts of like length share a batch."""
    vectors: dict[int, list[float]] = {}
    batch: list[int] = []

    def run_batch() -> None:
        results = _pooled(loaded, [prompts[number] for number in batch])
        vectors.update(zip(batch, results, strict=True))

    for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
        # The longest so far is the last: to its length the others are padded.
        if batch and len(prompts[number]) * (len(batch) + 1) > _BATCH_TOKENS:
            run_batch()
            batch = []
        batch.append(number)
    run_batch()
    return [vectors[number] for number in range(len(prompts))]


def _pooled(loaded: LoadedModel, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
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
