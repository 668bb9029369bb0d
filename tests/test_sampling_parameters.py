"""RunPod's documented sampling parameters in native jobs, with every engine: served, or refused with what to write."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from observed_fields import ENGINES, FieldObserver

from engineroom.errors import APIError
from engineroom.jobs import APICall, JobDefaults, JobInput

INPUTS: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
}
DEFAULTS = {
    "n": 1,
    "best_of": 1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "use_beam_search": False,
    "length_penalty": 1.0,
    "early_stopping": False,
    "stop": None,
    "stop_token_ids": None,
    "ignore_eos": False,
    "max_tokens": 16,
    "min_tokens": 0,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
}
"""The documented defaults; forms send the whole table."""
OTHERS = {
    "best_of": 2,
    "repetition_penalty": 1.1,
    "top_k": 5,
    "min_p": 0.1,
    "use_beam_search": True,
    "length_penalty": 1.5,
    "early_stopping": "never",
    "stop_token_ids": [2],
    "ignore_eos": True,
    "min_tokens": 2,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}
PLACES = [(engine, surface) for engine in ENGINES for surface in INPUTS]


@cache
def observer(engine: str) -> FieldObserver:
    return FieldObserver(engine)


def refusal(engine: str, surface: str, params: dict[str, Any]) -> str:
    """What is refused of a job with these parameters; empty where it is served."""
    seen = observer(engine)
    try:
        job = JobInput.parse({**INPUTS[surface], "sampling_params": params}, seen.engine, JobDefaults("openai", None))
    except APIError as error:
        return error.message
    assert isinstance(job.request, APICall)
    assert job.request.json is not None
    observed = seen.observe(surface, job.request.json)
    return "" if observed.status == 200 else observed.answer


@pytest.mark.parametrize(("engine", "surface"), PLACES)
def test_the_documented_defaults_are_served(engine: str, surface: str) -> None:
    assert refusal(engine, surface, dict(DEFAULTS)) == ""


@pytest.mark.parametrize(("engine", "surface"), PLACES)
def test_another_value_is_served_or_refused_with_what_to_write(engine: str, surface: str) -> None:
    for name, value in OTHERS.items():
        refused = refusal(engine, surface, {name: value})
        advice = ("instead", "leave it out", "set ENABLE_")
        assert not refused or (name in refused and any(words in refused for words in advice)), refused


def test_llama_cpp_gets_its_own_penalty() -> None:
    seen = observer("llamacpp").observe("chat", {**INPUTS["chat"], "repetition_penalty": 1.1})
    assert [(sent["repeat_penalty"], sent["repeat_last_n"]) for sent in seen.sent] == [(1.1, 32_768)]
    assert "repetition_penalty" not in seen.sent[0]
