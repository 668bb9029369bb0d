"""From a user's environment to vLLM's command line, and what is said of a mistake. No vLLM needed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engineroom.errors import SettingsError
from engineroom.server import Address
from engineroom_vllm import snapshots
from engineroom_vllm.engine import VLLMEngine

Configure = Callable[..., VLLMEngine]


def argv(engine: VLLMEngine) -> list[str]:
    return list(engine.command(Address("/tmp/engine.sock", None)))


def problems(configure: Configure, **variables: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        configure(**variables)
    return {problem.variable: problem.message for problem in caught.value.problems}


def test_the_command_line_of_a_model_and_nothing_else(configure: Configure) -> None:
    python, *rest = argv(configure())
    assert python.endswith("standin-python-0.32.0")
    assert rest[:6] == ["-m", "vllm.entrypoints.cli.main", "serve", "org/model", "--uds", "/tmp/engine.sock"]
    assert rest[6:8] == ["--served-model-name", "org/model"]
    assert sorted(rest[8:]) == ["--disable-uvicorn-access-log", "--gpu-memory-utilization=0.95"]


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({"MAX_MODEL_LEN": "16k"}, ["--max-model-len=16k"]),
        ({"MAX_MODEL_LEN": "auto"}, ["--max-model-len=-1"]),
        ({"ENFORCE_EAGER": "true"}, ["--enforce-eager"]),
        ({"ENFORCE_EAGER": "False"}, ["--no-enforce-eager"]),
        ({"GPU_MEMORY_UTILIZATION": "0.8"}, ["--gpu-memory-utilization=0.8"]),
        ({"MODEL_REVISION": "v2"}, ["--revision=v2"]),
        ({"TOKENIZER_NAME": "org/tokenizer"}, ["--tokenizer=org/tokenizer"]),
        ({"CUSTOM_CHAT_TEMPLATE": "{{ messages }}\nA: "}, ["--chat-template={{ messages }}\nA:"]),
        ({"OPENAI_RESPONSE_ROLE": "bot"}, ["--response-role=bot"]),
        ({"DISABLE_LOG_REQUESTS": "true"}, ["--no-enable-log-requests"]),
        ({"DISABLE_LOG_REQUESTS": "0"}, ["--enable-log-requests"]),
        ({"VLLM_ATTENTION_BACKEND": "FLASHINFER"}, ["--attention-backend=FLASHINFER"]),
        ({"LIMIT_MM_PER_PROMPT": "image=2,video=0"}, ['--limit-mm-per-prompt={"image":2,"video":0}']),
        ({"LIMIT_MM_PER_PROMPT": '{"image": 2}'}, ['--limit-mm-per-prompt={"image":2}']),
        ({"LORA_MODULES": "sql=/loras/sql"}, ["--enable-lora", "--lora-modules", "sql=/loras/sql"]),
        (
            {"LORA_MODULES": '[{"name": "a", "path": "x/y"}, {"name": "b", "path": "z"}]', "ENABLE_LORA": "true"},
            ["--enable-lora", "--lora-modules", '{"name": "a", "path": "x/y"}', '{"name": "b", "path": "z"}'],
        ),
        ({"LORA_MODULES": '{"name": "a", "path": "x"}'}, ["--lora-modules", '{"name": "a", "path": "x"}']),
        ({"MIDDLEWARE": "a.B,c.D"}, ["--middleware", "a.B", "--middleware", "c.D"]),
        ({"VLLM_EXTRA_ARGS": "--max-num-seqs 4 --enable_lora"}, ["--max-num-seqs", "4", "--enable_lora"]),
        (
            {"SPECULATIVE_CONFIG": '{"method": "ngram", "num_speculative_tokens": 3}'},
            ['--speculative-config={"method":"ngram","num_speculative_tokens":3}'],
        ),
        (
            {"SPECULATIVE_MODEL": "[ngram]", "NUM_SPECULATIVE_TOKENS": "3", "NGRAM_PROMPT_LOOKUP_MAX": "4"},
            ['--speculative-config={"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":4}'],
        ),
    ],
    ids=str,
)
def test_a_variable_becomes_its_flag(configure: Configure, variables: dict[str, str], arguments: list[str]) -> None:
    command = argv(configure(**variables))
    positions = [command.index(argument) for argument in dict.fromkeys(arguments)]
    assert positions == sorted(positions), f"{arguments} are not in {command}"
    assert all(command.count(argument) == arguments.count(argument) for argument in arguments)


WORDS = ["", "None", "none", "null"]


@pytest.mark.parametrize("unset", WORDS)
def test_what_worker_vllm_takes_as_not_set_is_not_set(configure: Configure, unset: str) -> None:
    """Each of its variables, the older names and those that have no effect any more among them."""
    names = json.loads(Path(__file__).with_name("worker-vllm-hub-defaults.json").read_text())["documented"]
    elsewhere = {"BASE_PATH", "HF_TOKEN", "MODEL_NAME", "OPENAI_SERVED_MODEL_NAME_OVERRIDE"}
    doors = {"MAX_CONCURRENCY", "RAW_OPENAI_OUTPUT", *(name for name in names if "BATCH_SIZE" in name)}
    variables = dict.fromkeys(set(names) - elsewhere - doors, unset)
    assert argv(configure(**variables)) == argv(configure())


NUMBERS = [
    "MAX_CPU_LORAS",
    "MAX_MODEL_LEN",
    "MAX_NUM_BATCHED_TOKENS",
    "MAX_PARALLEL_LOADING_WORKERS",
    "NGRAM_PROMPT_LOOKUP_MAX",
    "NGRAM_PROMPT_LOOKUP_MIN",
    "NUM_GPU_BLOCKS_OVERRIDE",
    "NUM_SPECULATIVE_TOKENS",
    "SPECULATIVE_DISABLE_BY_BATCH_SIZE",
    "SPECULATIVE_DRAFT_TENSOR_PARALLEL_SIZE",
    "SPECULATIVE_MAX_MODEL_LEN",
]
"""The number boxes of its Hub file and its console form that may stay empty."""


@pytest.mark.parametrize("zero", ["0", "0.0", '"0"'])
def test_a_zero_of_an_empty_box_is_not_set(configure: Configure, caplog: pytest.LogCaptureFixture, zero: str) -> None:
    plain = argv(configure())
    caplog.clear()
    assert argv(configure(**dict.fromkeys([*NUMBERS, "ROPE_THETA"], zero))) == plain
    assert not caplog.messages, "nothing is asked for, so there is nothing to warn of"
    assert "--max-cpu-loras=0" not in plain


def test_a_word_that_is_a_choice_is_no_absence(configure: Configure) -> None:
    assert "--mamba-cache-mode=none" in argv(configure(MAMBA_CACHE_MODE="none"))
    assert "--seed=0" in argv(configure(SEED="0")), "a zero that means something stays"


def test_config_shows_what_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "ENGINE=vllm\nMODEL_NAME=org/model\nMAX_PARALLEL_LOADING_WORKERS=0\nMAX_NUM_SEQS=4\n"
    )
    shown = subprocess.run(
        [Path(sys.executable).with_name("engineroom"), "config", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    ).stdout  # fmt: skip
    sources = {row["name"]: (row["value"], row["source"]) for row in json.loads(shown)}
    assert sources["MAX_PARALLEL_LOADING_WORKERS"] == (None, "default; .env has 0, which counts as not set")
    assert sources["MAX_NUM_SEQS"] == ("4", ".env")


@pytest.mark.parametrize("version", snapshots.versions())
@pytest.mark.parametrize("hub", ["hub-v2.23", "hub-v2.25.2"])
def test_worker_vllm_s_environment_works_unchanged(
    configure: Configure, caplog: pytest.LogCaptureFixture, hub: str, version: str
) -> None:
    variables = json.loads(Path(__file__).with_name("worker-vllm-hub-defaults.json").read_text())[hub]
    with caplog.at_level(logging.WARNING, "engineroom_vllm"):
        command = argv(configure(version, **variables))
    assert "--max-num-seqs=256" in command
    assert "--gpu-memory-utilization=0.95" in command
    for gone in {"SWAP_SPACE", "DEVICE", "SCHEDULER_DELAY_FACTOR"} & variables.keys():
        assert any(gone in message for message in caplog.messages), f"{gone} is dropped without a word"


def test_every_documented_name_of_worker_vllm_is_known() -> None:
    names = json.loads(Path(__file__).with_name("worker-vllm-hub-defaults.json").read_text())["documented"]
    known = {name for group in snapshots_groups() for setting in group.describe() for name in setting.names}
    assert set(names) - known == set()


def snapshots_groups() -> list[object]:
    from engineroom.plugins import engine_class, settings_groups
    from engineroom.settings import Environment, Setting

    class Aliases:
        title = "other names"

        def describe(self) -> list[Setting]:
            return [Setting(name) for name in VLLMEngine.other_names]

    found, env = engine_class(Environment.of({"ENGINE": "vllm"}))
    return [*settings_groups(found, env), Aliases()]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DTYPE", "float33", "expected one of auto, bfloat16"),
        ("MAX_MODEL_LEN", "long", "expected a whole number"),
        ("ENFORCE_EAGER", "perhaps", "expected true or false"),
        ("COMPILATION_CONFIG", "{", "expected JSON"),
        ("MAX_MODEL_LENGTH", "4096", "did you mean MAX_MODEL_LEN?"),
        ("VLLM_EXTRA_ARGS", "--max-num-seq 4", "did you mean --max-num-seqs?"),
        ("VLLM_EXTRA_ARGS", "--port 80", "set PORT"),
        ("VLLM_EXTRA_ARGS", "--api-key x", "checked by the door"),
        ("VLLM_EXTRA_ARGS", '"', "cannot be read"),
        ("VLLM_CONFIG_FILE", "/nowhere.yaml", "there is no file /nowhere.yaml"),
        ("NUM_SPECULATIVE_TOKENS", "many", "expected a whole number"),
    ],
)
def test_a_mistake_is_said_with_its_name(configure: Configure, name: str, value: str, says: str) -> None:
    assert says in problems(configure, **{name: value})[name]


def test_all_mistakes_are_said_at_once(configure: Configure) -> None:
    found = problems(configure, DTYPE="x", MAX_NUM_SEQS="y", VLLM_EXTRA_ARGS="--zork", MAX_MODEL_LENGTH="1")
    assert set(found) == {"DTYPE", "MAX_NUM_SEQS", "VLLM_EXTRA_ARGS", "MAX_MODEL_LENGTH"}


def test_without_a_model_it_is_asked_for(configure: Configure) -> None:
    assert "which model to serve" in problems(configure, MODEL_NAME="")["MODEL_NAME"]


def test_a_config_file_is_checked_and_what_it_sets_is_not_set_again(configure: Configure, tmp_path: Path) -> None:
    file = tmp_path / "vllm.yaml"
    file.write_text("gpu-memory-utilization: 0.5\nmax_num_seqs: 4\n")
    command = argv(configure(VLLM_CONFIG_FILE=str(file)))
    assert command[command.index("--config") + 1] == str(file)
    assert "--gpu-memory-utilization=0.95" not in command
    file.write_text("max-model-length: 4\n")
    assert "did you mean --max-model-len?" in problems(configure, VLLM_CONFIG_FILE=str(file))["VLLM_CONFIG_FILE"]


def test_secrets_are_in_the_environment_and_not_on_the_command_line(configure: Configure) -> None:
    engine = configure(HF_TOKEN="hf_secret", VLLM_LOGGING_LEVEL="DEBUG")
    assert "hf_secret" not in " ".join(argv(engine))
    assert engine.environ()["HF_TOKEN"] == "hf_secret"
    assert engine.environ()["VLLM_LOGGING_LEVEL"] == "DEBUG", "vLLM's own variables reach it from any layer"
    assert "VLLM_PYTHON" not in engine.environ(), "vLLM warns of variables that it does not know"


def test_a_volume_keeps_models_and_compiled_kernels(configure: Configure, tmp_path: Path) -> None:
    engine = configure(BASE_PATH=str(tmp_path))
    assert engine.environ()["HF_HOME"] == str(tmp_path / "huggingface-cache")
    assert engine.environ()["VLLM_CACHE_ROOT"] == str(tmp_path / "vllm-cache")
    assert "VLLM_CACHE_ROOT" not in configure().environ()


def test_a_model_in_the_volume_s_cache_keeps_its_name(configure: Configure, tmp_path: Path) -> None:
    snapshot = tmp_path / "huggingface-cache" / "hub" / "models--qwen--qwen3-8b" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    engine = configure(MODEL_NAME="Qwen/Qwen3-8B", BASE_PATH=str(tmp_path))
    command = argv(engine)
    assert engine.models == ("Qwen/Qwen3-8B",)
    assert command[4] == str(snapshot)
    assert command[command.index("--served-model-name") + 1] == "Qwen/Qwen3-8B"


def test_several_names_and_adapters_are_served(configure: Configure) -> None:
    engine = configure(OPENAI_SERVED_MODEL_NAME_OVERRIDE="a, b", LORA_MODULES="sql=/loras/sql")
    assert engine.models == ("a", "b", "sql")
    assert engine.knows_model("sql")
    assert not engine.knows_model("other")


def test_tensor_parallel_size_is_the_number_of_gpus_unless_set(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert "--tensor-parallel-size=4" in argv(configure())
    assert "--tensor-parallel-size=2" in argv(configure(PIPELINE_PARALLEL_SIZE="2"))
    assert "--tensor-parallel-size=1" in argv(configure(TENSOR_PARALLEL_SIZE="1"))


def test_the_nearest_snapshot_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    snapshots.load.cache_clear()
    with caplog.at_level(logging.WARNING, "engineroom_vllm"):
        assert snapshots.load("0.32.1").table.version == "0.32.0"
        assert not caplog.messages
        assert snapshots.load("0.99.0+cu130").table.version == snapshots.versions()[-1]
        assert snapshots.load("0.1.0").table.version == snapshots.versions()[0]
    assert [message for message in caplog.messages if "no snapshot" in message]
    assert len(caplog.messages) == 2


def test_a_flag_only_a_newer_vllm_has_is_refused_by_the_older(configure: Configure) -> None:
    configure("0.33.0", WATCHDOG_CONFIG="{}")
    assert "WATCHDOG_CONFIG" in problems(configure, WATCHDOG_CONFIG="{}")


def test_configuring_imports_neither_torch_nor_vllm() -> None:
    code = (
        "import sys\nfrom engineroom.plugins import open_engine\n"
        "from engineroom.settings.environment import Environment\n"
        "open_engine(Environment.of({'ENGINE': 'vllm', 'MODEL_NAME': 'org/model'}))\n"
        "print([name for name in ('torch', 'vllm', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
