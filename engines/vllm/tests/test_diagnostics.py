"""What is said when vLLM ends: the line of its log that says why. The logs are recorded (logs/README.md)."""

from pathlib import Path

import pytest

from engineroom_vllm.diagnostics import explain

LOGS = Path(__file__).with_name("logs")


def log(name: str) -> list[str]:
    return (LOGS / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "advice", "quoted"),
    [
        ("bad-flag", "refused its command line", "invalid choice: 'float33'"),
        ("cuda-out-of-memory", "lower MAX_MODEL_LEN", "Tried to allocate 50.00 MiB"),
        ("gated-repository", "set HF_TOKEN", "GatedRepoError"),
        ("no-python", "check VLLM_PYTHON", "No module named 'vllm'"),
        ("no-such-model", "the hub cannot be reached", "outgoing traffic has been disabled"),
        ("too-long", "more than the model's own context", "User-specified max_model_len (99999999)"),
        ("truncated-weights", "", "SafetensorError: Error while deserializing header"),
        ("unknown-architecture", "a newer one may", "model type `zork`"),
        ("unsupported-architecture", "a newer one may", "['ZorkForCausalLM'] are not supported"),
    ],
)
def test_the_line_that_says_why_is_quoted_with_advice(name: str, advice: str, quoted: str) -> None:
    reason = explain(log(name), "org/model")
    assert reason is not None
    assert advice in reason
    assert quoted in reason
    assert "\n" not in reason
    assert "pid=" not in reason


def test_an_engine_process_that_vanishes_is_told_apart() -> None:
    lines = ["(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."]
    assert "engine process died" in str(explain(lines))


def test_a_log_that_says_nothing_is_not_guessed_at() -> None:
    assert explain(["(APIServer pid=1) INFO 11-21 04:44:44 [x.py:1] all is well"]) is None
