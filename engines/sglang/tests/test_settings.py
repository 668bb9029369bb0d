"""From the environment to SGLang's command line, and what its failures mean."""

from __future__ import annotations

import json
import logging

import pytest

from engineroom.errors import EngineStartError, SettingsError
from engineroom.server import Address
from engineroom.testing import running

from .conftest import MODEL, Configure, ask

WORKER_SGLANG = {
    "TOKENIZER_PATH": ("org/tokenizer", "--tokenizer-path=org/tokenizer"),
    "TOKENIZER_MODE": ("slow", "--tokenizer-mode=slow"),
    "LOAD_FORMAT": ("safetensors", "--load-format=safetensors"),
    "DTYPE": ("bfloat16", "--dtype=bfloat16"),
    "CONTEXT_LENGTH": ("8192", "--context-length=8192"),
    "QUANTIZATION": ("fp8", "--quantization=fp8"),
    "SERVED_MODEL_NAME": ("llama", "--served-model-name=llama"),
    "CHAT_TEMPLATE": ("chatml", "--chat-template=chatml"),
    "MEM_FRACTION_STATIC": ("0.9", "--mem-fraction-static=0.9"),
    "MAX_RUNNING_REQUESTS": ("64", "--max-running-requests=64"),
    "MAX_TOTAL_TOKENS": ("65536", "--max-total-tokens=65536"),
    "CHUNKED_PREFILL_SIZE": ("4096", "--chunked-prefill-size=4096"),
    "MAX_PREFILL_TOKENS": ("16384", "--max-prefill-tokens=16384"),
    "SCHEDULE_POLICY": ("lpm", "--schedule-policy=lpm"),
    "SCHEDULE_CONSERVATIVENESS": ("0.8", "--schedule-conservativeness=0.8"),
    "TENSOR_PARALLEL_SIZE": ("2", "--tensor-parallel-size=2"),
    "STREAM_INTERVAL": ("2", "--stream-interval=2"),
    "RANDOM_SEED": ("7", "--random-seed=7"),
    "FILE_STORAGE_PATH": ("/tmp/files", "--file-storage-path=/tmp/files"),
    "DATA_PARALLEL_SIZE": ("2", "--data-parallel-size=2"),
    "LOAD_BALANCE_METHOD": ("round_robin", "--load-balance-method=round_robin"),
    "ATTENTION_BACKEND": ("flashinfer", "--attention-backend=flashinfer"),
    "SAMPLING_BACKEND": ("pytorch", "--sampling-backend=pytorch"),
    "TOOL_CALL_PARSER": ("llama3", "--tool-call-parser=llama3"),
    "REASONING_PARSER": ("qwen3", "--reasoning-parser=qwen3"),
    "TRUST_REMOTE_CODE": ("1", "--trust-remote-code"),
    "LOG_REQUESTS": ("yes", "--log-requests"),
    "SHOW_TIME_COST": ("true", "--show-time-cost"),
    "DISABLE_RADIX_CACHE": ("true", "--disable-radix-cache"),
    "DISABLE_CUDA_GRAPH": ("true", "--disable-cuda-graph"),
    "DISABLE_OUTLINES_DISK_CACHE": ("true", "--disable-outlines-disk-cache"),
    "ENABLE_TORCH_COMPILE": ("true", "--enable-torch-compile"),
    "ENABLE_P2P_CHECK": ("true", "--enable-p2p-check"),
    "TRITON_ATTENTION_REDUCE_IN_FP32": ("true", "--triton-attention-reduce-in-fp32"),
}
"""Every variable of worker-sglang's README that is a flag of SGLang: a value, and what SGLang gets of it."""


@pytest.mark.parametrize("name", WORKER_SGLANG)
def test_worker_sglangs_variables_reach_sglang(configure: Configure, name: str) -> None:
    value, flag = WORKER_SGLANG[name]
    assert flag in configure(**{name: value}).command(Address(None, 1))


def test_false_is_no_flag(configure: Configure) -> None:
    assert "--trust-remote-code" not in configure(TRUST_REMOTE_CODE="false").command(Address(None, 1))


def test_what_sglang_dropped_is_no_error(configure: Configure) -> None:
    configure(ENABLE_FLASHINFER_MLA="true", LOG_LEVEL_HTTP="warning", LOG_LEVEL="info", API_KEY="sk-x")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"TENSOR_PARALEL_SIZE": "2"}, "did you mean TENSOR_PARALLEL_SIZE?"),
        ({"DTYPE": "fp17"}, "bfloat16"),
        ({"CONTEXT_LENGTH": "long"}, "CONTEXT_LENGTH"),
        ({"LORA_PATHS": "a=/x"}, "LORA_DIR"),
        ({"MODEL_NAME": ""}, "MODEL_NAME"),
        ({"SKIP_TOKENIZER_INIT": "true"}, "SKIP_TOKENIZER_INIT"),
        ({"NNODES": "2"}, "DIST_INIT_ADDR"),
    ],
)
def test_wrong_settings_are_named(configure: Configure, values: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("?", r"\?")):
        configure(**values)


def test_variables_of_the_libraries_under_it_reach_it(configure: Configure) -> None:
    values = {"NCCL_DEBUG": "INFO", "PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    assert values.items() <= configure(**values).environ().items()


def test_all_gpus_are_used_unless_told_otherwise(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert "--tensor-parallel-size=4" in configure().command(Address(None, 1))
    assert "--tensor-parallel-size=2" in configure(DATA_PARALLEL_SIZE="2").command(Address(None, 1))
    assert "--tensor-parallel-size=1" in configure(TENSOR_PARALLEL_SIZE="1").command(Address(None, 1))


async def test_no_sglang_is_said_at_the_start(configure: Configure) -> None:
    engine = configure(version="")
    with pytest.raises(EngineStartError, match="SGLANG_PYTHON"):
        await engine.start()
    await engine.stop()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "raise MEM_FRACTION_STATIC"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "lower MEM_FRACTION_STATIC"),
        (
            "User-specified context_length (9000) is greater than the derived context_length (4096).",
            "lower",
        ),
        ("RuntimeError: Found no NVIDIA driver on your system.", "sees no GPU"),
        ("RuntimeError: Rank 0 scheduler died during initialization (exit code: -9). If exit", "not the GPU's"),
        (
            "[2026-11-27 01:49:03] server_args={'model_path': '/m', 'context_length': None}\n"
            "[2026-11-27 01:49:13] Scheduler hit an exception: Traceback (most recent call last):\n"
            '  File "/x/scheduler.py", line 6360, in run_scheduler_process\n    scheduler = Scheduler(\n'
            "ValueError: The odd thing is odd\n\n"
            "[2026-11-27 01:49:14] Received sigquit from a child process. It usually means the child failed.",
            "The odd thing is odd",
        ),
    ],
)
async def test_why_a_start_failed(configure: Configure, monkeypatch: pytest.MonkeyPatch, line: str, said: str) -> None:
    monkeypatch.setenv("STANDIN_LOG", line)
    engine = configure()
    with pytest.raises(EngineStartError, match=said):
        await engine.start()
    await engine.stop()


async def test_a_start_that_kills_itself_has_logged_why(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGLang's own way to end where one of its processes fails: signal 9, as if memory had run out."""
    monkeypatch.setenv("STANDIN_LOG", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.")
    monkeypatch.setenv("STANDIN_KILLS_ITSELF", "1")
    engine = configure()
    with pytest.raises(EngineStartError, match="raise MEM_FRACTION_STATIC"):
        await engine.start()
    await engine.stop()


def test_no_weights_are_lost_in_a_sleep(configure: Configure) -> None:
    assert not configure(ENABLE_MEMORY_SAVER="true").can_sleep
    assert configure(ENABLE_MEMORY_SAVER="true", ENABLE_WEIGHTS_CPU_BACKUP="true").can_sleep


def test_its_idle_connections_last_longer_than_ours(configure: Configure) -> None:
    engine = configure()
    assert float(engine.environ()["SGLANG_TIMEOUT_KEEP_ALIVE"]) > engine.keep_alive


async def test_a_warm_up_is_waited_for(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_WARMUP_S", "0.5")
    async with running(configure()) as engine:
        assert (await ask(engine))[0] == 200


async def test_it_generates_nothing_to_say_that_it_is_well(
    configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(configure()) as engine:
        assert engine.environ()["SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION"] == "false"
    argv = next(json.loads(line[line.index("{") :])["argv"] for line in caplog.text.splitlines() if '"argv"' in line)
    assert f"--model-path={MODEL}" in argv
    assert "--enable-metrics" in argv


def test_a_node_above_the_first_takes_no_requests(configure: Configure) -> None:
    engine = configure(NNODES="2", NODE_RANK="1", DIST_INIT_ADDR="10.0.0.1:5000")
    assert "10.0.0.1:5000" in engine.follows
