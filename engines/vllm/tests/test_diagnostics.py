"""Why vLLM did not start, in one sentence: logs of the real one (tools/record_start_failures.py).

Those whose names begin with `from_report` are put together from users' reports: no GPU and no hub was at hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation, safer_settings
from engineroom_vllm.diagnostics import DIAGNOSTICS, explain, normalise

LOGS = Path(__file__).with_name("start_failures")
SENTENCES = sentences(LOGS)
ORDINARY = "(EngineCore pid=797) INFO 11-26 08:38:42 [multiproc_executor.py:153] DP group leader: node_rank=0"
MISLEADING = (
    "(EngineCore pid=797) INFO 11-26 08:38:42 [core.py:133] Initializing a V1 LLM engine with config: "
    "trust_remote_code=True, CUDA out of memory, Cannot find any model weights with `x`, Address already in use"
)
"""What made every failure one of TRUST_REMOTE_CODE, and more of that kind."""


def situation(settings: dict[str, str]) -> Situation:
    model = settings["MODEL_NAME"]
    return Situation(settings, None if model.startswith("/") else model)


@pytest.mark.parametrize("name", SENTENCES)
def test_a_log_becomes_the_sentence_that_helps(name: str) -> None:
    record = recording(LOGS / f"{name}.txt")
    check(record, SENTENCES[name], DIAGNOSTICS, situation(dict(record.settings)), ORDINARY, MISLEADING)


def test_every_recording_has_its_sentence() -> None:
    assert names(LOGS) == set(SENTENCES)


@pytest.mark.parametrize(
    ("message", "safer"),
    [
        (
            "To serve at least one request with the models's max seq len (131072), (14.00 GiB KV cache is needed, "
            "which is larger than the available KV cache memory (3.50 GiB). Based on the available memory, the "
            "estimated maximum model length is 32768. Try increasing `gpu_memory_utilization` or decreasing "
            "`max_model_len` when initializing the engine.",
            {"MAX_MODEL_LEN": "32768"},
        ),
        (
            "Free memory on device cuda:0 (20.00/24.00 GiB) on startup is less than desired GPU memory utilization "
            "(0.95, 22.80 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            {"GPU_MEMORY_UTILIZATION": "0.81"},
        ),
        (
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing.",
            {"ENFORCE_EAGER": "true", "MAX_NUM_BATCHED_TOKENS": "2048"},
        ),
        (
            "User-specified max_model_len (9000) is greater than the derived max_model_len (max_position_embeddings="
            "8192.0 or model_max_length=None in model's config.json).",
            {},
        ),
    ],
)
def test_what_needs_less_memory(message: str, safer: dict[str, str]) -> None:
    lines = [f"(EngineCore pid=104) ERROR 11-21 04:52:07 [core.py:1131] ValueError: {message}"]
    assert safer_settings(lines, DIAGNOSTICS, Situation({})) == safer


def test_an_engine_process_that_vanishes_is_told_apart() -> None:
    lines = ["(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."]
    assert "engine process died" in str(explain(lines, Situation()))


def test_a_log_that_says_nothing_is_not_guessed_at() -> None:
    assert explain(["(APIServer pid=1) INFO 11-21 04:44:44 [x.py:1] all is well"], Situation()) is None


@pytest.mark.parametrize(
    ("error", "param", "says"),
    [
        (
            {"message": 'Failed to transform json schema into a grammar: [20:01:47] <path>:4944: Unsupported type "x"'},
            "response_format",
            'into a grammar: Unsupported type "x"',
        ),
        ({"message": "Invalid structural tag specification."}, "tools", "structural tag"),
        ({"message": "smol is not a multimodal model"}, "messages", "multimodal"),
        ({"message": "Input should be 'text'", "param": "body.response_format.type"}, "response_format.type", "text"),
    ],
)
def test_what_it_refuses_names_the_field(error: dict[str, str], param: str, says: str) -> None:
    refused = normalise(400, json.dumps({"error": {**error, "type": "BadRequestError", "code": 400}}).encode())
    assert (refused.status, refused.param) == (400, param)
    assert says in refused.message
