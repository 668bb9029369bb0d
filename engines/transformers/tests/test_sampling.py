"""The arithmetic of sampling, compared with transformers' own logits processors and with counted draws."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import pytest

from engineroom_transformers.sampling import Sampling, draw
from engineroom_transformers.settings import Params

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.real_transformers

SIZE = 400


def scores(seed: int = 0) -> torch.Tensor:
    """Scores [1, SIZE] of a model that is neither sure nor clueless."""
    import torch

    return torch.randn(1, SIZE, generator=torch.Generator().manual_seed(seed)) * 3


def sampling(seed: int = 0, temperature: float = 1.0, top_p: float = 1.0, **params: Any) -> Sampling:
    return Sampling(Params(**params), temperature, top_p, seed, prompt=[1, 2, 3], eos=[0])


def shaped(row: torch.Tensor, generated: list[int], **params: Any) -> torch.Tensor:
    found = row[0].clone()
    sampling(**params).shape(found, generated, None)  # type: ignore[arg-type]
    return found


def test_the_repetition_penalty_is_transformers_own() -> None:
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    row, generated = scores(), [7, 7, 9]
    theirs = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([[1, 2, 3, *generated]]), row.clone())[0]
    assert torch.equal(shaped(row, generated, repetition_penalty=1.7), theirs)


def test_presence_and_frequency_penalties_are_openai_s() -> None:
    row = scores()
    changed = shaped(row, [7, 7, 9], presence_penalty=0.5, frequency_penalty=0.25) - row[0]
    assert changed[7].item() == pytest.approx(-1.0)
    assert changed[9].item() == pytest.approx(-0.75)
    assert changed.abs().sum().item() == pytest.approx(1.75), "the prompt's tokens are left alone"


def test_a_bias_is_added_and_the_end_forbidden_until_it_may_come() -> None:
    row = scores()
    changed = shaped(row, [5], logit_bias={11: 4.0, 12: -100.0}, min_tokens=2)
    assert (changed - row[0])[11].item() == pytest.approx(4)
    assert (changed - row[0])[12].item() == pytest.approx(-100)
    assert changed[0].item() == float("-inf")
    assert shaped(row, [5, 6], min_tokens=2)[0].item() == row[0][0].item()


LIMITS: list[dict[str, Any]] = [
    {"top_k": 5},
    {"top_p": 0.6},
    {"min_p": 0.2},
    {"temperature": 2.0, "top_k": 30, "top_p": 0.9},
    {"temperature": 0.5, "min_p": 0.05},
    {"temperature": 5.0, "top_p": 0.99},
    {},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_draws_have_the_distribution_of_transformers_own_warpers(limits: dict[str, Any]) -> None:
    """Only allowed tokens are drawn, and the likely ones as often as they should be. The draws are seeded."""
    import torch
    import transformers as hf

    row, draws = scores(3), 4000
    wanted = row / limits.get("temperature", 1.0)
    if "min_p" in limits:
        wanted = hf.MinPLogitsWarper(limits["min_p"])(None, wanted)
    if "top_k" in limits:
        wanted = hf.TopKLogitsWarper(limits["top_k"])(None, wanted)
    if "top_p" in limits:
        wanted = hf.TopPLogitsWarper(limits["top_p"])(None, wanted)
    expected = wanted.softmax(-1)[0]
    drawn = draw(row.expand(draws, -1).contiguous(), [sampling(seed, **limits) for seed in range(draws)])
    counted = collections.Counter(drawn.tolist())
    assert all(expected[token] > 0 for token in counted)
    for token in torch.topk(expected, 5).indices.tolist():
        p = float(expected[token])
        assert counted[token] / draws == pytest.approx(p, abs=5 * (p * (1 - p) / draws) ** 0.5 + 1e-9)


def test_rows_of_one_batch_have_limits_of_their_own() -> None:
    import torch

    rows = [sampling(1, top_k=1), sampling(2, top_k=3), sampling(3), sampling(4, top_p=1e-6), sampling(5, min_p=1.0)]
    row = scores(5)
    best = int(row.argmax())
    third = torch.topk(row[0], 3).indices.tolist()
    for _ in range(50):
        drawn = draw(row.expand(5, -1).contiguous(), rows).tolist()
        assert drawn[0] == drawn[3] == drawn[4] == best
        assert drawn[1] in third


def test_forbidden_tokens_are_never_drawn_and_a_single_allowed_one_always() -> None:
    import torch

    row = torch.full((1, SIZE), float("-inf"))
    row[0, 17] = -50.0
    for limits in LIMITS:
        assert draw(row.clone(), [sampling(9, **limits)]).item() == 17
