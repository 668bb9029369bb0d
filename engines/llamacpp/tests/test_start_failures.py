"""Why llama.cpp did not start, in one sentence: logs of the real one (tools/record_start_failures.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from http_door import serving
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation, diagnose, safer_settings
from engineroom_llamacpp.diagnostics import DIAGNOSTICS
from engineroom_llamacpp.models import packaged

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


def test_a_context_beyond_memory_may_be_smaller() -> None:
    lines = recording(LOGS / "context_beyond_memory.txt").lines
    assert safer_settings(lines, DIAGNOSTICS, Situation({})) == {"CTX_SIZE": "8192"}
    assert safer_settings(lines, DIAGNOSTICS, Situation({"CTX_SIZE": "4096"})) == {}
    buffers = [line.replace("buffer for kv cache", "compute pp buffers") for line in lines]
    assert safer_settings(buffers, DIAGNOSTICS, Situation({})) == {"UBATCH_SIZE": "128"}


def test_only_a_lack_of_memory_has_safer_settings() -> None:
    for name in SENTENCES:
        if not name.endswith(("beyond_memory", "with_fit")):
            record = recording(LOGS / f"{name}.txt")
            assert not safer_settings(record.lines, DIAGNOSTICS, Situation(record.settings)), name


def test_a_flag_that_an_older_binary_lacks_is_named() -> None:
    # What llama-server of build 10434 wrote when it was given a flag of build 11549.
    reason = diagnose(["error: invalid argument: --kv-unified-per-slot"], DIAGNOSTICS, Situation())
    assert reason is not None
    assert reason.endswith("no --kv-unified-per-slot: leave out KV_UNIFIED_PER_SLOT, or update llama-server")


def test_an_unknown_error_is_told_as_it_is() -> None:
    log = ["0.00.011.000 E srv    load_model: the moon is in the wrong phase", "Failed to init server, please check it"]
    assert diagnose(log, DIAGNOSTICS, Situation()) == "srv load_model: the moon is in the wrong phase"


def failed_start(tmp_path: Path, **settings: str) -> list[str]:
    """The log of a worker whose model is cut short, after it has ended with the exit code of a failed engine."""
    model = tmp_path / "cut.gguf"
    model.write_bytes(packaged().read_bytes()[:2_000_000])
    with serving({"ENGINE": "llamacpp", "MODEL_NAME": str(model), **settings}, ready=False) as door:
        assert door.ended() == 1
    return [line for line in door.log.splitlines() if line]


def test_a_worker_ends_with_that_sentence_once(tmp_path: Path) -> None:
    lines = failed_start(tmp_path)
    expected = f"error: llamacpp did not start: MODEL_NAME={tmp_path}/cut.gguf is cut short: its tensor "
    assert lines[-1].startswith(expected)
    assert sum("is cut short" in line for line in lines) == 1
    assert any(" ERROR " in line and "E llama_model_load: error loading model" in line for line in lines)
    assert sum("E llama_model_load_from_file_impl: failed" in line for line in lines) <= 2, "its lines stand there once"


def test_in_a_log_of_json_it_is_the_last_object(tmp_path: Path) -> None:
    entries = [json.loads(line) for line in failed_start(tmp_path, LOG_FORMAT="json")]
    assert (entries[-1]["level"], entries[-1]["logger"]) == ("CRITICAL", "engineroom")
    assert "is cut short" in entries[-1]["message"]
    assert {entry["level"] for entry in entries if " E " in entry["message"]} == {"ERROR"}


def test_without_the_engine_s_log_its_last_lines_stand_before_the_sentence(tmp_path: Path) -> None:
    lines = failed_start(tmp_path, ENGINE_LOGS="false")
    assert "is cut short" in lines[-1]
    assert any(line.startswith("  | ") and "error loading model" in line for line in lines)
