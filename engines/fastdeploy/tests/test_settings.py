"""Settings against the flag snapshots of all four versions, read the way a door reads them; nothing is started."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engineroom.errors import SettingsError
from engineroom.server import Address
from engineroom.settings import Environment, Flag
from engineroom_fastdeploy.installed import snapshots
from engineroom_fastdeploy.settings import ASIDE, table_of

from .conftest import VERSIONS, Configure, install, standin

HUB_DEFAULTS = {
    "MODEL": "baidu/ERNIE-4.5-0.3B-Paddle",
    "MAX_CONCURRENCY": "512",
    "MAX_MODEL_LEN": "2048",
    "TENSOR_PARALLEL_SIZE": "1",
    "DATA_PARALLEL_SIZE": "1",
    "BLOCK_SIZE": "64",
    "MAX_NUM_SEQS": "8",
    "MAX_NUM_BATCHED_TOKENS": "2048",
    "TOKENIZER": "",
    "USE_WARMUP": "1",
    "QUANTIZATION": "BF16",
    "GPU_MEMORY_UTILIZATION": "0.9",
    "KV_CACHE_RATIO": "0.75",
    "ENABLE_PREFIX_CACHING": "False",
    "SWAP_SPACE": "",
    "ENABLE_CHUNKED_PREFILL": "False",
    "MAX_NUM_PARTIAL_PREFILLS": "1",
    "MAX_LONG_PARTIAL_PREFILLS": "1",
    "STATIC_DECODE_BLOCKS": "2",
    "DISABLE_CUSTOM_ALL_REDUCE": "False",
    "USE_INTERNODE_LL_TWO_STAGE": "False",
    "DISABLE_SEQUENCE_PARALLEL_MOE": "False",
    "SPLITWISE_ROLE": "mixed",
    "INNODE_PREFILL_PORTS": "",
    "GUIDED_DECODING_BACKEND": "off",
    "GUIDED_DECODING_DISABLE_ANY_WHITESPACE": "False",
    "DYNAMIC_LOAD_WEIGHT": "0",
    "ENABLE_EXPERT_PARALLEL": "False",
    "ENABLE_LOGPROB": "False",
    "LOGPROBS_MODE": "",
    "MAX_LOGPROBS": "20",
    "LOAD_CHOICES": "default",
    "MAX_ENCODER_CACHE": "0",
    "MAX_PROCESSOR_CACHE": "0",
    "API_KEY": "",
    "MODEL_REPO": "baidu/ERNIE-4.5-0.3B-Paddle",
    "ENABLE_V1_KVCACHE_SCHEDULER": "1",
}
"""What worker-FastDeploy's Hub file sets for everybody."""

version = pytest.fixture(params=VERSIONS, name="version")(lambda request: request.param)


def config_of(engine: Any, folder: Path) -> dict[str, Any]:
    """What the engine would write into --config."""
    engine.directory = folder
    command = engine.command(Address(None, 4711))
    assert command[1:4] == ["-m", "fastdeploy.entrypoints.openai.api_server", "--config"]
    loaded: dict[str, Any] = yaml.safe_load(Path(command[4]).read_text())
    return loaded


def value_for(flag: Flag) -> str:
    """A good value for a flag, other than its default where that can be."""
    samples = {"int": "3", "float": "0.5", "json": '{"a": 1}', "list": "a.B,c.D", "switch": "true", "bool": "false"}
    return flag.choices[-1] if flag.choices else samples.get(flag.kind, "4711,4712")


def test_every_flag_is_a_setting_and_arrives_under_its_own_name(
    version: str, configure: Configure, tmp_path: Path
) -> None:
    table = table_of(tuple(map(int, version.split("."))))  # type: ignore[arg-type]
    values = {flag.variable: value_for(flag) for flag in table.flags}
    fitting = {"DATA_PARALLEL_SIZE": "2", "MAX_MODEL_LEN": "64", "LOGPROBS_MODE": "raw_logits"}
    config = config_of(configure(**{**values, **fitting, "ENABLE_PREFIX_CACHING": "true"}), tmp_path)
    for flag in table.flags:
        assert flag.name in config or flag.name == "revision", f"{flag.name} is lost"
    known = {flag.name for flag in snapshots()[tuple(map(int, version.split(".")))].flags}  # type: ignore[index]
    assert set(config) <= known, "FastDeploy would ignore a name that it does not know"
    assert config["enable_prefix_caching"] is True
    assert config_of(configure(ENABLE_PREFIX_CACHING="false"), tmp_path)["enable_prefix_caching"] is False
    assert config["logits_processors"] == ["a.B", "c.D"]
    assert config["limit_mm_per_prompt"] == {"a": 1}


def test_ports_are_chosen_and_bound_to_loopback(version: str, configure: Configure, tmp_path: Path) -> None:
    config = config_of(configure(HOST="0.0.0.0", PORT=8000, DATA_PARALLEL_SIZE=2), tmp_path)
    assert (config["host"], config["port"]) == ("127.0.0.1", 4711)
    queues, caches = config["engine_worker_queue_port"].split(","), config["cache_queue_port"].split(",")
    assert len({*queues, *caches}) == 4, "a port of each for every data-parallel rank"
    assert config["workers"] == 1
    assert ("metrics_port" in config) == (version == "2.3"), "only 2.3 cannot serve metrics on its own port"


def test_worker_fastdeploys_hub_defaults_start_on_every_version(
    version: str, configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        engine = configure(MODEL_NAME="", environment=HUB_DEFAULTS)
    assert engine.models == ("baidu/ERNIE-4.5-0.3B-Paddle",)
    config = config_of(engine, tmp_path)
    assert not {"quantization", "dynamic_load_weight", "guided_decoding_disable_any_whitespace"} & set(config)
    assert config["enable_prefix_caching"] is False
    left_out = {record.getMessage().split("=")[0] for record in caplog.records}
    only_later = {"MAX_LOGPROBS", "USE_INTERNODE_LL_TWO_STAGE", "DISABLE_SEQUENCE_PARALLEL_MOE"}
    assert left_out == {"QUANTIZATION"} | (only_later if version == "2.3" else set())


def test_quantization_is_passed_on(version: str, configure: Configure, tmp_path: Path) -> None:
    assert config_of(configure(QUANTIZATION="wint4"), tmp_path)["quantization"] == "wint4"


@pytest.mark.parametrize("name", ["MODEL", "MODEL_REPO"])
def test_model_by_its_other_names(version: str, name: str, configure: Configure) -> None:
    assert configure(**{name: "org/other", "MODEL_NAME": ""}).models == ("org/other",)


def test_served_names(version: str, configure: Configure, tmp_path: Path) -> None:
    engine = configure(SERVED_MODEL_NAME="ernie,alias")
    assert engine.models == ("ernie", "alias")
    assert engine.knows_model("default")
    assert config_of(engine, tmp_path)["served_model_name"] == "ernie", "FastDeploy knows one name"


@pytest.mark.parametrize("version", ["2.3", "2.6"])
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"MAX_MODEL_LEN": "long"}, "MAX_MODEL_LEN (from arguments): expected a whole number"),
        ({"GPU_MEMORY_UTILIZATION": "most"}, "GPU_MEMORY_UTILIZATION (from arguments): expected a number"),
        ({"ENABLE_LOGPROB": "perhaps"}, "ENABLE_LOGPROB (from arguments): expected true or false"),
        ({"LOGPROBS_MODE": "raw"}, "LOGPROBS_MODE (from arguments): expected one of raw_logprobs"),
        ({"SPECULATIVE_CONFIG": "mtp"}, "SPECULATIVE_CONFIG (from arguments): expected JSON"),
        ({"MAX_MODEL_LENGTH": "4096"}, "did you mean MAX_MODEL_LEN?"),
        ({"FASTDEPLOY_PYTHN": "python3"}, "did you mean FASTDEPLOY_PYTHON?"),
        ({"FASTDEPLOY_IDLE_TIMEOUT": "0"}, "FASTDEPLOY_IDLE_TIMEOUT"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    version: str, values: dict[str, str], told: str, configure: Configure
) -> None:
    with pytest.raises(SettingsError) as refused:
        configure(**values)
    assert told in str(refused.value)


@pytest.mark.parametrize("version", ["2.5"])
def test_all_problems_are_told_at_once(version: str, configure: Configure) -> None:
    with pytest.raises(SettingsError) as refused:
        configure(MAX_MODEL_LEN="long", START_TIMEOUT="soon", FASTDEPLOY_CHECKS="perhaps")
    for name in ("MAX_MODEL_LEN", "START_TIMEOUT", "FASTDEPLOY_CHECKS"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("version", "name", "value", "told"),
    [
        ("2.5", "INNODE_PREFILL_PORTS", "8100", "FastDeploy 2.5 has no --innode-prefill-ports (2.3 does); remove it"),
        ("2.3", "MAX_LOGPROBS", "50", "FastDeploy 2.3 has no --max-logprobs"),
        ("2.5", "DEPLOY_MODALITY", "text", "(2.6 does)"),
    ],
)
def test_a_flag_of_another_version_is_refused(name: str, value: str, told: str, configure: Configure) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        configure(**{name: value})
    assert told in str(refused.value)


def test_options_of_a_newer_version_go_through_a_file(version: str, configure: Configure, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("new_option: {depth: 2}\nmax_model_len: 1024\nhost: 0.0.0.0\n")
    config = config_of(configure(FASTDEPLOY_CONFIG=str(more), MAX_MODEL_LEN=4096), tmp_path)
    assert config["new_option"] == {"depth": 2}
    assert config["max_model_len"] == 4096, "a variable goes before the file"
    assert config["host"] == "127.0.0.1"


@pytest.mark.parametrize("version", ["2.5"])
@pytest.mark.parametrize("text", [None, "- a list", "max_model_len: [1"])
def test_a_file_that_cannot_be_read(configure: Configure, tmp_path: Path, text: str | None) -> None:
    more = tmp_path / "more.yaml"
    if text is not None:
        more.write_text(text)
    with pytest.raises(SettingsError, match="FASTDEPLOY_CONFIG"):
        configure(FASTDEPLOY_CONFIG=str(more))


@pytest.mark.parametrize("version", ["2.5"])
def test_a_model_folder_that_is_not_there(configure: Configure) -> None:
    with pytest.raises(SettingsError, match="there is no file or folder /models/none"):
        configure(MODEL_NAME="/models/none")


@pytest.mark.parametrize("version", ["2.5"])
def test_the_version_is_found_without_importing_anything(configure: Configure) -> None:
    assert configure().version == (2, 5)
    assert configure(FASTDEPLOY_VERSION="2.6").version == (2, 6), "the setting goes before what is installed"
    assert configure(FASTDEPLOY_VERSION="2.9").version == (2, 9), "a newer one has the flags of the newest known"


def test_versions_that_cannot_run(tmp_path: Path) -> None:
    with standin("2.5", tmp_path) as make:
        with pytest.raises(SettingsError, match=r"FASTDEPLOY_VERSION: FastDeploy 2\.0 is too old; 2\.3 or newer"):
            make(FASTDEPLOY_VERSION="2.0")
        with pytest.raises(SettingsError, match="FASTDEPLOY_VERSION: expected a version"):
            make(FASTDEPLOY_VERSION="newest")
        with pytest.raises(SettingsError, match=r"FASTDEPLOY_PYTHON: no FastDeploy is installed"):
            make(FASTDEPLOY_PYTHON="/nonexistent/python")


def test_without_fastdeploy_the_settings_are_still_described(monkeypatch: pytest.MonkeyPatch) -> None:
    from engineroom_fastdeploy import FastDeployEngine

    env = Environment.of({"FASTDEPLOY_PYTHON": "/nonexistent/python"})
    described = {setting.name for group in FastDeployEngine.settings(env) for setting in group.describe()}
    assert {"MAX_MODEL_LEN", "DEPLOY_MODALITY", "FASTDEPLOY_SM", "FD_LOG_DIR"} <= described
    assert not ASIDE.answers.keys() & described
    assert not next(iter(FastDeployEngine.requirements(env))).met


def test_its_own_variables_may_stand_in_a_file(tmp_path: Path) -> None:
    with standin("2.6", tmp_path) as make:
        environ = make(FD_LOG_LEVEL="ERROR", DO_NOT_TRACK="0", HF_TOKEN="hf_x").environ()
        assert environ["HF_TOKEN"] == "hf_x"
        assert (environ["FD_LOG_LEVEL"], environ["DO_NOT_TRACK"]) == ("ERROR", "0")
        assert environ["ZMQ_SEND_BATCH_DATA"] == "0"
        with pytest.raises(SettingsError, match="did you mean FD_LOG_LEVEL"):
            make(FD_LOG_LEVL="ERROR")


def test_metadata_of_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engineroom_fastdeploy.installed import FASTDEPLOY, PADDLE, find

    install(tmp_path, fastdeploy_gpu="2.4.0", paddlepaddle_gpu="3.3.0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    python = find(sys.executable)
    assert (python.executable, python.version(*FASTDEPLOY), python.version(*PADDLE)) == (
        sys.executable,
        "2.4.0",
        "3.3.0",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find(None).version(*FASTDEPLOY) == "2.4.0"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"MAX_NUM_SEQS": "300"}, "expected at least 1 and at most 256; got '300'"),
        ({"MAX_MODEL_LEN": "8"}, "expected at least 16; got '8'"),
        ({"GPU_MEMORY_UTILIZATION": "95"}, "95 % is 0.95"),
        ({"TENSOR_PARALLEL_SIZE": "0"}, "expected at least 1"),
        ({"GUIDED_DECODING_BACKEND": "xgramar"}, "did you mean xgrammar?"),
        ({"SPLITWISE_ROLE": "prefil"}, "did you mean prefill?"),
        ({"SPECULATIVE_CONFIG": '["mtp"]'}, "expected JSON with an object"),
        ({"SPECULATIVE_CONFIG": '{"method": "mtp"}', "GUIDED_DECODING_BACKEND": "auto"}, "SPECULATIVE_CONFIG"),
        ({"MAX_NUM_BATCHED_TOKENS": "4", "MAX_NUM_SEQS": "8"}, "must be at least MAX_NUM_SEQS"),
        ({"MAX_NUM_BATCHED_TOKENS": "65536"}, "must be at most MAX_NUM_SEQS times MAX_MODEL_LEN"),
        ({"MAX_LONG_PARTIAL_PREFILLS": "2"}, "must be at most MAX_NUM_PARTIAL_PREFILLS"),
    ],
    ids=str,
)
def test_what_fastdeploy_would_refuse_after_its_imports_is_refused_at_once(
    configure: Configure, variables: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(**variables)
    assert says in str(caught.value)


def test_the_limits_themselves_are_allowed(configure: Configure) -> None:
    configure(MAX_NUM_SEQS="256", MAX_MODEL_LEN="16", GPU_MEMORY_UTILIZATION="1", GUIDED_DECODING_BACKEND="XGrammar")


def test_a_value_is_checked_where_no_fastdeploy_is_installed(configure: Configure) -> None:
    """Only the missing installation was named."""
    with pytest.raises(SettingsError) as caught:
        configure(FASTDEPLOY_PYTHON="/usr/bin/false", MAX_NUM_SEQS="many", GPU_MEMORY_UTILIZATION="95")
    names = {problem.variable for problem in caught.value.problems}
    assert names == {"FASTDEPLOY_PYTHON", "MAX_NUM_SEQS", "GPU_MEMORY_UTILIZATION"}
