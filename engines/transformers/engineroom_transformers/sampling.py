"""Sampling: each request by its own parameters, all of a batch in one step.

transformers' manager knows only temperature, top_k and top_p of a request. `Sampler` takes the place of its logits
processors: it chooses the tokens itself and leaves the manager's argmax no other choice.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from engineroom.errors import APIError
from engineroom.openai.serving.response import check_ids
from engineroom.openai.validation import check

from .settings import Params
from .vocabulary import problem

if TYPE_CHECKING:
    import torch
    from llguidance import LLMatcher

    from engineroom.in_process import TokenRequest

    from .vocabulary import Vocabulary

_GREEDY = 1e-5
"""Below this temperature nothing is drawn; dividing by it would overflow."""
_CANDIDATES = (256, 4096)
"""How many of the likeliest tokens mostly, and nearly always, hold all that top_p or min_p leaves."""


@dataclass
class Sampling:
    """One request's parameters, and its state while it runs. Every rank of a tensor-parallel group has its own copy.

    eos: the token ids that end it. grammar: llguidance's, None for free text; `failed` says why it could not go on.
    logprobs: as `TokenRequest.logprobs`; `logprob_rows` has each token's own and its alternatives', in order.
    """

    params: Params
    temperature: float
    top_p: float
    seed: int | str
    prompt: Sequence[int]
    eos: Sequence[int]
    grammar: str | None = None
    logprobs: int | None = None
    logprob_rows: list[tuple[float, list[tuple[int, float]]]] = field(default_factory=list)
    failed: str = ""
    _matcher: LLMatcher | None = None
    _accepted: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    @classmethod
    def of(cls, request: TokenRequest, vocabulary: Vocabulary) -> Sampling:
        """Raises APIError for a parameter that is unknown, or wrong."""
        if not request.prompt:  # It would take the whole batch with it.
            raise APIError("The prompt is empty.", param="prompt", code="invalid_value")
        params = check(request.params, Params)
        check_ids(params.logit_bias, vocabulary.size, "logit_bias")
        check_ids(params.stop_token_ids, vocabulary.size, "stop_token_ids")
        endless = params.ignore_eos and request.schema is None
        seed = secrets.randbits(62) if request.seed is None else request.seed
        return cls(
            params,
            request.temperature if request.temperature >= _GREEDY else 0.0,
            request.top_p,
            f"{seed}/{request.choice}",
            request.prompt,
            (*(() if endless else vocabulary.eos), *params.stop_token_ids),
            None if request.schema is None else vocabulary.grammar(request.schema),
            request.logprobs,
        )

    def __deepcopy__(self, memo: Any) -> Sampling:
        """The manager copies a request that it has to prefill anew; it is still the same one."""
        return self

    @property
    def shapes(self) -> bool:
        """Whether it puts anything into its scores."""
        params = self.params
        penalties = params.repetition_penalty != 1 or params.presence_penalty or params.frequency_penalty
        return bool(penalties or params.logit_bias or params.min_tokens or self.grammar is not None)

    def shape(self, scores: torch.Tensor, generated: list[int], vocabulary: Vocabulary) -> None:
        """Put penalties, biases and the grammar into one row of scores, in place."""
        import torch

        params = self.params
        penalty = params.repetition_penalty
        if penalty != 1:
            seen = torch.tensor([*self.prompt, *generated], device=scores.device)
            scores[seen] = torch.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
        if (params.presence_penalty or params.frequency_penalty) and generated:
            ids, counts = torch.tensor(generated, device=scores.device).unique(return_counts=True)
            scores[ids] -= params.presence_penalty + params.frequency_penalty * counts
        if params.logit_bias:
            scores[list(params.logit_bias)] += torch.tensor([*params.logit_bias.values()], device=scores.device)
        if len(generated) < params.min_tokens and self.grammar is None:
            scores[list(self.eos)] = -math.inf
        if self.grammar is not None:
            self._constrain(scores, generated, vocabulary)

    def _constrain(self, scores: torch.Tensor, generated: list[int], vocabulary: Vocabulary) -> None:
        """Leave what the grammar allows; where it is complete, or cannot go on, that is the end."""
        import torch

        if self._matcher is None:
            self._matcher = vocabulary.matcher(self.grammar or "")
        self._matcher.consume_tokens(generated[self._accepted :])
        self._accepted = len(generated)
        packed = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8).to(scores.device)
        allowed = (packed[:, None] >> torch.arange(8, device=scores.device) & 1).bool().flatten()[: len(scores)]
        scores[: len(allowed)].masked_fill_(~allowed, -math.inf)
        scores[len(allowed) :] = -math.inf
        self.failed = problem(self._matcher)


def draw(scores: torch.Tensor, rows: Sequence[Sampling]) -> torch.Tensor:
    """A token for each row of scores [rows, vocabulary]: temperature, min_p, top_k and top_p, in vLLM's order.

    Limits are found among each row's likeliest tokens; only where these are not enough the whole row is sorted.
    """
    import torch

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, device=scores.device)[:, None]

    size = scores.shape[-1]
    probabilities = (scores / column([row.temperature for row in rows])).softmax(-1)
    limits = [
        (row.top_p, row.params.min_p, min(row.params.top_k, size) if row.params.top_k > 0 else size) for row in rows
    ]
    if any(limit != (1, 0, size) for limit in limits):
        top_p, min_p, top_k = (column(values) for values in zip(*limits, strict=True))
        for candidates in sorted({min(number, size) for number in (*_CANDIDATES, size)}):
            values, ids = probabilities.topk(candidates)
            kept = (torch.arange(candidates, device=scores.device) < top_k) & (values >= min_p * values[:, :1])
            whole = (top_k >= size) & (min_p == 0)
            total = torch.where(whole, 1.0, (values * kept).sum(-1, keepdim=True))
            kept &= (values * kept).cumsum(-1) - values < top_p * total
            if candidates == size or not kept[:, -1].any():
                break
        kept[:, 0] = True
        # Back in the vocabulary's order: in that of likelihood a seed's draw would hang on how near-ties fall.
        probabilities = torch.zeros_like(probabilities).scatter_(-1, ids, values * kept)
    reached = probabilities.cumsum(-1, dtype=torch.float64)
    point = column([row.random.random() for row in rows]) * reached[:, -1:]
    return torch.searchsorted(reached, point, right=True).clamp_(max=size - 1)[:, 0]


class Sampler:
    """What the manager takes for its list of logits processors.

    Before each step it tells the batch's requests (`prepare_tensor_args`), behind the model it calls with their scores,
    both in its own thread. That holds only while its batches are neither double-buffered nor captured as graphs.
    """

    tensors_required = 0
    do_processing = True

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._batch: list[Any] = []

    def check_kwargs(self, kwargs: Any) -> None:
        """`Sampling` has been checked."""

    def fill_defaults(self, arguments: torch.Tensor) -> None:
        """There are no tensors of arguments to fill."""

    def prepare_tensor_args(self, requests_in_batch: Sequence[Any], arg_storage: torch.Tensor) -> torch.Tensor:
        self._batch = [request.state for request in requests_in_batch if request.has_new_token]
        return arg_storage

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, arguments: torch.Tensor) -> torch.Tensor:
        """Scores [requests, vocabulary] with only the chosen tokens left.

        Behind the rows of the requests that get a token stands one for each whose prompt goes on in the next step.
        """
        rows: list[Sampling] = [state.logit_processor_kwargs["sampling"] for state in self._batch]
        wanted = [number for number, row in enumerate(rows) if row.logprobs is not None]
        known = dict(zip(wanted, scores[wanted].log_softmax(-1), strict=True)) if wanted else {}
        for row, state, values in zip(rows, self._batch, scores, strict=False):
            if row.shapes:  # The list of a request's tokens is made anew each time.
                row.shape(values, state.to_generation_output().generated_tokens, self._vocabulary)
        chosen = scores.argmax(-1)
        if drawn := [number for number, row in enumerate(rows) if row.temperature > 0]:
            chosen[drawn] = draw(scores[drawn], [rows[number] for number in drawn])
        for number, values in known.items():
            top = values.topk(rows[number].logprobs or 0)
            pairs = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            rows[number].logprob_rows.append((float(values[chosen[number]]), pairs))
        return scores.fill_(-math.inf).scatter_(1, chosen[:, None], 0.0)
