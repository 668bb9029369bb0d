"""What is refused before vLLM starts is what vLLM would refuse, no more and no less: the same cases are put to both."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from real_engine import MODEL

from engineroom.errors import SettingsError
from engineroom_vllm import snapshots
from engineroom_vllm.engine import VLLMEngine

from .conftest import PYTHON

Configure = Callable[..., VLLMEngine]

REFUSED: tuple[tuple[Mapping[str, str], str], ...] = (
    ({"GPU_MEMORY_UTILIZATION": "95"}, "more than 0 and at most 1; got '95'; 95 % is 0.95"),
    ({"GPU_MEMORY_UTILIZATION": "0"}, "more than 0 and at most 1"),
    ({"TENSOR_PARALLEL_SIZE": "0"}, "at least 1; got '0'"),
    ({"PIPELINE_PARALLEL_SIZE": "-1"}, "at least 1"),
    ({"MAX_NUM_SEQS": "0"}, "at least 1"),
    ({"MAX_NUM_BATCHED_TOKENS": "-5"}, "at least 1"),
    ({"BLOCK_SIZE": "0"}, "more than 0"),
    ({"MAX_MODEL_LEN": "-2"}, "at least -1"),
    ({"MAX_LOGPROBS": "-2"}, "at least -1"),
    ({"STREAM_INTERVAL": "0"}, "at least 1"),
    ({"ENABLE_LORA": "true", "MAX_LORAS": "0"}, "at least 1"),
    ({"REASONING_PARSER": "deepsek_r1"}, "did you mean deepseek_r1?"),
    ({"ENABLE_AUTO_TOOL_CHOICE": "true", "TOOL_CALL_PARSER": "hermess"}, "did you mean hermes?"),
    ({"QUANTIZATION": "awq4"}, "did you mean awq?"),
    ({"ATTENTION_BACKEND": "FLASHINFR"}, "did you mean FLASHINFER?"),
    ({"COMPILATION_CONFIG": "3"}, "expected JSON with an object"),
    ({"COMPILATION_CONFIG": '{"mod": 3}'}, "has no key 'mod'; did you mean mode?"),
    ({"SPECULATIVE_CONFIG": '{"method": "ngram", "num_spec_tokens": 3}'}, "has no key 'num_spec_tokens'"),
    ({"SPECULATIVE_CONFIG": '{"method": "ngram"}'}, 'needs "num_speculative_tokens"'),
    ({"SPECULATIVE_CONFIG": '{"num_speculative_tokens": 3}'}, 'needs "model"'),
    ({"SPECULATIVE_CONFIG": '["ngram"]'}, "expected JSON with an object"),
    ({"SPEC_TOKENS": "3"}, "needs SPEC_MODEL"),
    ({"SPEC_METHOD": "ngram", "SPECULATIVE_CONFIG": '{"method": "ngram", "num_speculative_tokens": 3}'}, "already"),
    ({"KV_TRANSFER_CONFIG": '{"kv_connector": "NixlConnector"}'}, 'needs "kv_role"'),
    ({"ENABLE_AUTO_TOOL_CHOICE": "true"}, "needs TOOL_CALL_PARSER"),
    ({"ENABLE_LOG_OUTPUTS": "true"}, "needs ENABLE_LOG_REQUESTS=true"),
    ({"ENABLE_PER_REQUEST_METRICS": "true", "DISABLE_LOG_STATS": "true"}, "remove DISABLE_LOG_STATS"),
    ({"COLLECT_DETAILED_TRACES": "all"}, "needs OTLP_TRACES_ENDPOINT"),
    ({"NUMA_BIND_NODES": "0"}, "needs NUMA_BIND=true"),
    ({"NUMA_BIND_CPUS": "0-3"}, "needs NUMA_BIND=true"),
    ({"ENABLE_EPLB": "true"}, "needs ENABLE_EXPERT_PARALLEL=true"),
    ({"ENABLE_LORA": "true", "MAX_LORAS": "4", "MAX_CPU_LORAS": "2"}, "must be at least MAX_LORAS"),
    ({"LORA_MODULES": "no-path"}, "expected name=path"),
    ({"LORA_MODULES": '{"path": "/x"}'}, "expected name=path"),
    ({"DATA_PARALLEL_EXTERNAL_LB": "true"}, "needs DATA_PARALLEL_RANK"),
    ({"DATA_PARALLEL_RANK": "0"}, "needs DATA_PARALLEL_SIZE above 1"),
    ({"DATA_PARALLEL_HYBRID_LB": "true"}, "needs DATA_PARALLEL_SIZE_LOCAL"),
    ({"DATA_PARALLEL_SIZE_LOCAL": "2"}, "must be at most DATA_PARALLEL_SIZE"),
    ({"DATA_PARALLEL_MULTI_PORT_EXTERNAL_LB": "true"}, "remove it"),
    ({"DATA_PARALLEL_BACKEND": "rai"}, "expected one of mp, ray"),
    ({"NNODES": "2", "TENSOR_PARALLEL_SIZE": "2", "NODE_RANK": "2"}, "must be less than NNODES"),
    ({"NNODES": "2", "TENSOR_PARALLEL_SIZE": "2", "DATA_PARALLEL_BACKEND": "ray"}, "needs DATA_PARALLEL_BACKEND=mp"),
    ({"DECODE_CONTEXT_PARALLEL_SIZE": "2"}, "must divide TENSOR_PARALLEL_SIZE"),
    ({"MAX_NUM_BATCHED_TOKENS": "8", "MAX_NUM_SEQS": "16"}, "must be at least MAX_NUM_SEQS"),
    (
        {"MAX_NUM_BATCHED_TOKENS": "1k", "MAX_MODEL_LEN": "2k", "ENABLE_CHUNKED_PREFILL": "false"},
        "must be at least MAX_MODEL_LEN",
    ),
    ({"MAX_NUM_ACTIVE_SEQS": "9", "MAX_NUM_SEQS": "8"}, "must be at most MAX_NUM_SEQS"),
    ({"LONG_PREFILL_TOKEN_THRESHOLD": "4096", "MAX_MODEL_LEN": "2048"}, "must be at most MAX_MODEL_LEN"),
    ({"OFFLOAD_BACKEND": "prefetch", "OFFLOAD_GROUP_SIZE": "1", "OFFLOAD_NUM_IN_GROUP": "2"}, "OFFLOAD_GROUP_SIZE"),
    ({"SSE_KEEP_ALIVE_INTERVAL": "-1"}, "must be at least 0"),
    ({"ATTENTION_BACKEND": "TORCH_SDPA", "ATTENTION_CONFIG": '{"backend": "TORCH_SDPA"}'}, "already"),
    ({"CUDAGRAPH_CAPTURE_SIZES": "1,2", "COMPILATION_CONFIG": '{"cudagraph_capture_sizes": [1]}'}, "already"),
    ({"CHAT_TEMPLATE": "/no/such/template.jinja"}, "there is no file /no/such/template.jinja"),
    ({"HF_OVERRIDES": "{'a': 1}"}, "JSON has double quotes"),
    ({"HF_OVERRIDES": "architectures"}, "expected JSON"),
)
"""Variables that vLLM would refuse, and what is said of one of them."""

ACCEPTED: tuple[Mapping[str, str], ...] = (
    {},
    {"GPU_MEMORY_UTILIZATION": "1"},
    {"GPU_MEMORY_UTILIZATION": "'0.5' # half"},
    {"MAX_NUM_SEQS": "1"},
    {"MAX_MODEL_LEN": "auto"},
    {"MAX_LOGPROBS": "-1"},
    {"MAX_NUM_BATCHED_TOKENS": "16", "MAX_NUM_SEQS": "16"},
    {"MAX_NUM_BATCHED_TOKENS": "1k", "MAX_MODEL_LEN": "2k", "ENABLE_CHUNKED_PREFILL": "true"},
    {"ENABLE_AUTO_TOOL_CHOICE": "true", "TOOL_CALL_PARSER": "hermes"},
    {"REASONING_PARSER": "granite"},
    {"ATTENTION_BACKEND": "auto"},
    {"ENABLE_LORA": "true", "MAX_LORAS": "2", "MAX_CPU_LORAS": "2"},
    {"SPECULATIVE_CONFIG": '{"method": "ngram", "num-speculative-tokens": 3, "prompt_lookup_max": 4}'},
    {"SPEC_METHOD": "ngram", "SPEC_TOKENS": "3"},
    {"COMPILATION_CONFIG": '{"mode": 0}'},
    {"KV_TRANSFER_CONFIG": '{"kv_connector": "ExampleConnector", "kv_role": "kv_both"}'},
    {"LOAD_FORMAT": "safetensors"},
    {"HF_OVERRIDES": '{"rope_theta": 10000}'},
    {"ADDITIONAL_CONFIG": "{}"},
    {"PT_LOAD_MAP_LOCATION": "cpu"},
    {"CHAT_TEMPLATE": "{{ messages }}"},
)
"""Variables that vLLM takes, among them the ends of ranges."""


@pytest.mark.parametrize(("variables", "says"), REFUSED, ids=str)
def test_it_is_refused_with_its_name_and_a_remedy(
    configure: Configure, variables: Mapping[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(**variables)
    assert says in str(caught.value)
    assert {problem.variable for problem in caught.value.problems} <= variables.keys()


@pytest.mark.parametrize("variables", ACCEPTED, ids=str)
def test_what_vllm_takes_is_taken(configure: Configure, variables: Mapping[str, str]) -> None:
    configure(**variables)


@pytest.mark.parametrize("version", snapshots.versions())
def test_every_version_has_its_ranges(configure: Configure, version: str) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(version, GPU_MEMORY_UTILIZATION="95", TOOL_CALL_PARSER="hermess", COMPILATION_CONFIG='{"mod": 1}')
    assert {problem.variable for problem in caught.value.problems} == {
        "GPU_MEMORY_UTILIZATION",
        "TOOL_CALL_PARSER",
        "COMPILATION_CONFIG",
    }


def test_what_stands_in_vllm_s_own_file_counts(configure: Configure, tmp_path: Path) -> None:
    file = tmp_path / "vllm.yaml"
    file.write_text("tool-call-parser: hermes\n")
    configure(ENABLE_AUTO_TOOL_CHOICE="true", VLLM_CONFIG_FILE=str(file))
    configure(ENABLE_AUTO_TOOL_CHOICE="true", VLLM_EXTRA_ARGS="--tool-call-parser hermes")


def test_a_parser_of_a_plugin_is_taken(configure: Configure) -> None:
    configure(ENABLE_AUTO_TOOL_CHOICE="true", TOOL_CALL_PARSER="mine", TOOL_PARSER_PLUGIN="/plugins/mine.py")


@pytest.fixture(scope="module")
def real_vllm_says() -> Callable[[list[list[str]]], list[str | None]]:
    """Command lines -> why real vLLM refuses each, None where it takes it."""
    if not PYTHON.exists():
        pytest.skip("no real vLLM here; `make test-vllm` installs it (2.1 GB)")

    def ask(command_lines: list[list[str]]) -> list[str | None]:
        program = Path(__file__).with_name("real_arguments.py")
        environ = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        done = subprocess.run(
            [PYTHON, program],
            input="".join(json.dumps([str(MODEL), "--dtype=float32", *line]) + "\n" for line in command_lines),
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


def as_flags(variables: Mapping[str, str]) -> list[str]:
    """Variables on vLLM's own command line, unread: that is what would reach it."""
    by_variable = snapshots.load("0.32.0").table.by_variable
    arguments = []
    for variable, value in variables.items():
        flag = by_variable[variable]
        if flag.kind in ("bool", "switch"):
            arguments += [flag.flags[0]] if value == "true" else [str(flag.negative)]
        elif flag.kind == "list":
            arguments += [flag.flags[0], *value.split(",")]
        else:
            text = value.partition(" #")[0].strip("'")
            arguments.append(f"{flag.flags[0]}={'-1' if text == 'auto' and variable == 'MAX_MODEL_LEN' else text}")
    return arguments


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
def test_real_vllm_refuses_the_same_and_takes_the_same(
    real_vllm_says: Callable[[list[list[str]]], list[str | None]],
) -> None:
    """Every case above, and both ends of every range of the snapshot."""
    refused = [
        as_flags(variables) for variables, _ in REFUSED if "DATA_PARALLEL_MULTI_PORT_EXTERNAL_LB" not in variables
    ]
    refused.append(["--uds=/tmp/engine.sock", "--data-parallel-multi-port-external-lb"])
    accepted = [as_flags(variables) for variables in ACCEPTED]
    ends = list(ends_of_ranges())
    inside, outside = ([["--enable-lora", end] for end in side] for side in zip(*ends, strict=True))
    reasons = iter(real_vllm_says([*refused, *accepted, *inside, *outside]))
    taken = [line for line in refused if next(reasons) is None]
    assert not taken, "we refuse what vLLM takes"
    not_taken = {str(line): reason for line in accepted if (reason := next(reasons)) is not None}
    assert not not_taken, "we take what vLLM refuses"
    # Alone, a value at the end of its range may lack another flag; out of range it is not.
    limits = re.compile("Input should be (greater|less)")
    assert not [line for line in inside if limits.search(next(reasons) or "")], "our ranges are wider than vLLM's"
    assert not [line for line in outside if next(reasons) is None], "our ranges are narrower than vLLM's"


def ends_of_ranges() -> Iterator[tuple[str, str]]:
    """For each end of each range in the snapshot an argument at that end, and one beyond it.

    Without those of multimodal models, whose class vLLM does not make for the model here.
    """
    for flag in snapshots.load("0.32.0").table.flags:
        if flag.kind not in ("int", "float", "suffixed_int") or flag.group == "MultiModalConfig":
            continue
        for limit, step in ((flag.ge, -1), (flag.le, 1)):
            if limit is not None:
                yield f"{flag.flags[0]}={limit:g}", f"{flag.flags[0]}={limit + step:g}"
        for limit, step in ((flag.gt, 1), (flag.lt, -1)):
            if limit is not None:
                inside = limit + step if flag.kind == "int" else limit + step / 2
                yield f"{flag.flags[0]}={inside:g}", f"{flag.flags[0]}={limit:g}"
