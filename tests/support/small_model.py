"""What is known of SmolLM2-135M-Instruct, with which the engines' tests run."""

from __future__ import annotations

from engineroom_workers.testing import DoorExpectations

ANSWER = "The answer to this classic math problem is 4."
"""What it says to "What is 2+2?", greedily."""


def small_model(running_metric: str, *, shared: bool = False) -> DoorExpectations:
    """It behind both doors, with 2048 tokens of context and under two names."""
    return DoorExpectations(
        models=("smol", "alias"),
        running_metric=running_metric,
        max_model_len=2048,
        answer=ANSWER,
        continuation=" 8",
        sampling_params={"top_k": 1, "min_p": 0.1},
        shared=shared,
    )
