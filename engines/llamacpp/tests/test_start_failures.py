"""Why llama.cpp did not start, in one sentence: logs of the real one (tools/record_start_failures.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation, diagnose
from engineroom_llamacpp.diagnostics import DIAGNOSTICS

LOGS = Path(__file__).with_name("start_failures")
ORDINARY = "0.00.021.859 I load_tensors: offloading 0 repeating layers to GPU"
MISLEADING = "0.00.021.859 I args: unknown model architecture: 'x', failed to read tensor info, n_seq_max must be <= 1"

SENTENCES = sentences(LOGS)


@pytest.mark.parametrize("name", SENTENCES)
def test_a_log_becomes_the_sentence_that_helps(name: str) -> None:
    record = recording(LOGS / f"{name}.txt")
    check(record, SENTENCES[name], DIAGNOSTICS, Situation(record.settings), ORDINARY, MISLEADING)


def test_every_recording_has_its_sentence() -> None:
    assert names(LOGS) == set(SENTENCES)


def test_a_flag_that_an_older_binary_lacks_is_named() -> None:
    # What llama-server of build 10434 wrote when it was given a flag of build 11549.
    reason = diagnose(["error: invalid argument: --kv-unified-per-slot"], DIAGNOSTICS, Situation())
    assert reason is not None
    assert reason.endswith("no --kv-unified-per-slot: leave out KV_UNIFIED_PER_SLOT, or update llama-server")


def test_an_unknown_error_is_told_as_it_is() -> None:
    log = ["0.00.011.000 E srv    load_model: the moon is in the wrong phase", "Failed to init server, please check it"]
    assert diagnose(log, DIAGNOSTICS, Situation()) == "srv load_model: the moon is in the wrong phase"
