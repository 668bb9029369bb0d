"""Why MAX did not start, in one sentence: logs of the real one (tools/record_start_failures.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation
from engineroom_max.diagnostics import DIAGNOSTICS

LOGS = Path(__file__).with_name("start_failures")
SENTENCES = sentences(LOGS)
ORDINARY = "08:36:27.065 INFO: Loading weights"
MISLEADING = "08:36:27.065 INFO: trust_remote_code=True, out of memory, no GPUs are available"


@pytest.mark.parametrize("name", SENTENCES)
def test_a_log_becomes_the_sentence_that_helps(name: str) -> None:
    record = recording(LOGS / f"{name}.txt")
    model = record.settings["MODEL_NAME"]
    situation = Situation(record.settings, None if model.startswith("/") else model)
    check(record, SENTENCES[name], DIAGNOSTICS, situation, ORDINARY, MISLEADING)


def test_every_recording_has_its_sentence() -> None:
    assert names(LOGS) == set(SENTENCES)
