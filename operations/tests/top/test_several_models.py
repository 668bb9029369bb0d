"""`engineroom top` with a worker that has several models."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator

import pytest
from http_door import COMMAND, Door, ask, serving

from engineroom.settings import Environment
from engineroom_operations.scraping.snapshot import ModelResidence
from engineroom_operations.scraping.vocabulary import MetricVocabulary
from engineroom_operations.top.figures import figures
from engineroom_operations.top.reading import Reading

MODELS = [
    {"name": "chat", "engine": "echo", "memory": "2 GB", "pinned": True, "echo_tokens_per_s": 20},
    {"name": "coder", "engine": "echo", "memory": "1 GB"},
    {"name": "broken", "engine": "echo", "memory": "1 GB", "echo_fault": "start"},
    {"name": "unused", "engine": "echo", "memory": "1 GB"},
]


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with serving({"ENGINE": "", "MODELS": json.dumps(MODELS), "MODELS_MEMORY_GB": "3"}) as door:
        yield door


def top(*arguments: str) -> str:
    command = [COMMAND, "top", "--once", "--interval", "0.3", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_model_is_seen_with_what_it_is_at(door: Door) -> None:
    assert ask(door, model="broken").status_code == 503
    text = {"model": "chat", "messages": [{"role": "user", "content": "word " * 100}]}
    answering = threading.Thread(target=ask, args=(door,), kwargs=text)
    answering.start()
    reading = json.loads(top("--json", door.url))
    answering.join()
    models = {model["name"]: model for model in reading["residence"]}
    assert list(models) == ["chat", "coder", "broken", "unused"]
    assert (models["chat"]["phase"], models["chat"]["running"], models["chat"]["memory"]) == ("resident", 1, 2e9)
    assert (models["broken"]["phase"], models["broken"]["failures"]) == ("absent", 1)
    assert models["unused"]["loads"] == 0
    line = top(door.url)
    assert "models 1 of 4 resident" in line


def test_the_lines_are_of_models_that_there_is_something_to_say_of() -> None:
    reading = Reading("x", "http://x", 0)
    reading.residence = [
        ModelResidence("chat", "resident", running=2, memory=6e9, loads=1),
        ModelResidence("coder", "absent", waiting=3, longest_wait_s=12.2),
        ModelResidence("org/a-model-with-a-very-long-name-Q4_K_M", "draining", running=1, loads=4, unloads=3),
        ModelResidence("broken", "absent", failures=2),
        ModelResidence("unused", "absent"),
    ]
    lines = {figure.title: figure for figure in figures(reading)}
    assert lines["models"].text == "2 of 5 resident, 3 waiting, the first for 12 s, 5 loads, 3 unloads"
    assert lines["  chat"].text == "resident, 2 running, 6.0 GB"
    assert lines["  coder"].text == "absent, 3 waiting for 12 s"
    assert lines["  …very-long-name-Q4_K_M"].text == "draining, 1 running"
    assert lines["  broken"].alarming
    assert "  unused" not in lines


def test_a_phase_is_read_from_either_form_of_gauge() -> None:
    """A line for the phase that a model is in, or one for each phase with a 1 or a 0, as Prometheus' state sets are."""
    vocabulary = MetricVocabulary.installed(Environment.of({}))
    one = 'engineroom_model_phase{model="a",phase="loading"} 1\n'
    each = 'engineroom_model_phase{model="a",phase="absent"} 0\nengineroom_model_phase{model="a",phase="loading"} 1\n'
    for text in (one, each):
        with_others = f"engineroom_requests_running 1\n{text}"
        assert [model.phase for model in vocabulary.read(with_others, 0).residence] == ["loading"]
