"""Structured answers as people ask for them are within the limits that hold by default, with every engine."""

from __future__ import annotations

from typing import Any

import pytest
from ordinary_requests import ORDINARY

from engineroom.openai.limits import RequestLimits, check_fields
from engineroom.plugins import engine_names, load_engine
from engineroom.settings import Environment, WorkerSettings


@pytest.mark.parametrize("engine", engine_names())
@pytest.mark.parametrize("asked", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_request_is_within_the_limits(engine: str, asked: dict[str, Any]) -> None:
    env = Environment.of({}).with_defaults(load_engine(engine).defaults)
    messages = [{"role": "user", "content": "Answer."}]
    check_fields("/v1/chat/completions", {"messages": messages, **asked}, RequestLimits.of(WorkerSettings.load(env)))
