"""Why vLLM did not start, in one sentence: logs of the real one (tools/record_start_failures.py).

Those whose names begin with `from_report` are put together from users' reports: no GPU and no hub was at hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation
from engineroom_vllm.diagnostics import DIAGNOSTICS, explain

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


def test_an_engine_process_that_vanishes_is_told_apart() -> None:
    lines = ["(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."]
    assert "engine process died" in str(explain(lines, Situation()))


def test_a_log_that_says_nothing_is_not_guessed_at() -> None:
    assert explain(["(APIServer pid=1) INFO 11-21 04:44:44 [x.py:1] all is well"], Situation()) is None
