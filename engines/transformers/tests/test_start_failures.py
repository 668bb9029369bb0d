"""Why a model was not loaded, in one sentence: exceptions of real transformers (tools/record_start_failures.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation
from engineroom_transformers.diagnostics import DIAGNOSTICS

LOGS = Path(__file__).with_name("start_failures")
SENTENCES = sentences(LOGS)
ORDINARY = "2026-11-26 08:36:27,065 - transformers - INFO - loading configuration file config.json"
MISLEADING = (
    "2026-11-26 08:36:27,065 - transformers - INFO - trust_remote_code=True, out of memory, No module named 'x'"
)


@pytest.mark.parametrize("name", SENTENCES)
def test_an_exception_becomes_the_sentence_that_helps(name: str) -> None:
    record = recording(LOGS / f"{name}.txt")
    check(record, SENTENCES[name], DIAGNOSTICS, Situation(record.settings), ORDINARY, MISLEADING)


def test_every_recording_has_its_sentence() -> None:
    assert names(LOGS) == set(SENTENCES)
