"""From a user's environment to MAX's command line, and what is said of a mistake. No MAX needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engineroom.errors import SettingsError
from engineroom.plugins import open_engine
from engineroom.server import Address
from engineroom.settings import Environment, FlagTable, OtherName
from engineroom_max.engine import MAXEngine

Configure = Callable[..., MAXEngine]
FLAGS = Path(sys.modules[MAXEngine.__module__].__file__ or "").with_name("flags")


def argv(engine: MAXEngine) -> list[str]:
    return list(engine.command(Address(None, 1234)))


def problems(configure: Configure, version: str = "26.7.0", **variables: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        configure(version, **variables)
    return {problem.variable: problem.message for problem in caught.value.problems}


def test_the_command_line_of_a_model_and_nothing_else(configure: Configure) -> None:
    command, *rest = argv(configure(DEVICES="cpu"))
    assert command.endswith("bin/max")
    assert rest[:3] == ["serve", "--model-path=org/model", "--host=127.0.0.1"]
    assert rest[3:5] == ["--port=1234", "--served-model-name=org/model"]
    assert sorted(rest[5:]) == [
        "--devices=cpu",
        "--enable-min-tokens",
        "--enable-penalties",
        "--quantization-encoding=float32",
    ]


@pytest.mark.parametrize(
    ("variables", "argument"),
    [
        ({"MAX_LENGTH": "4096"}, "--max-length=4096"),
        ({"MAX_MODEL_LEN": "4096"}, "--max-length=4096"),
        ({"MAX_NUM_SEQS": "8"}, "--max-batch-size=8"),
        ({"MODEL_REVISION": "v2"}, "--huggingface-model-revision=v2"),
        ({"ENABLE_PENALTIES": "false"}, "--no-enable-penalties"),
        ({"DRAFT_MODEL_PATH": "org/small"}, "--no-enable-penalties"),
        ({"ENABLE_ECHO": "true"}, "--no-enable-penalties"),
        ({"QUANTIZATION_ENCODING": "q4_k"}, "--quantization-encoding=q4_k"),
        ({"WEIGHT_PATH": "a.gguf,b.gguf"}, "--weight-path"),
        ({"TRUST_REMOTE_CODE": "1"}, "--trust-remote-code"),
        ({"EAGER_USAGE_VALIDATOR": "init_only"}, "--eager-usage-validator=init_only"),
        ({"MODEL_PATH": "org/other", "MODEL_NAME": ""}, "--model-path=org/other"),
        ({"MODEL": "org/other", "MODEL_NAME": ""}, "--model-path=org/other"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_flags_are_variables(configure: Configure, variables: dict[str, str], argument: str) -> None:
    assert argument in argv(configure(**variables))


def test_a_list_is_the_flag_again_for_each_item(configure: Configure) -> None:
    line = argv(configure(WEIGHT_PATH="a.gguf,b.gguf"))
    at = line.index("--weight-path")
    assert line[at : at + 4] == ["--weight-path", "a.gguf", "--weight-path", "b.gguf"]


def test_gguf_weights_keep_their_own_form(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "model.Q4_K.gguf").touch()
    assert not [word for word in argv(configure(MODEL_NAME=str(tmp_path))) if word.startswith("--quantization")]


def test_a_local_folder_is_called_by_its_own_name(configure: Configure, tmp_path: Path) -> None:
    folder = tmp_path / "models--org--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    engine = configure(MODEL_NAME=str(folder))
    assert engine.models == ("org/name",)
    assert {f"--model-path={folder}", "--served-model-name=org/name"} <= set(argv(engine))


@pytest.mark.parametrize(
    ("variables", "variable", "message"),
    [
        ({"MAX_LENGHT": "3"}, "MAX_LENGHT", "did you mean MAX_LENGTH?"),
        ({"MAX_LENGTH": "many"}, "MAX_LENGTH", "expected a whole number; got 'many'"),
        ({"QUANTIZATION_ENCODING": "q5"}, "QUANTIZATION_ENCODING", "expected one of float32, float16, bfloat16"),
        ({"MODEL_NAME": ""}, "MODEL_NAME", "which model to serve"),
    ],
)
def test_a_mistake_is_named(configure: Configure, variables: dict[str, str], variable: str, message: str) -> None:
    assert message in problems(configure, **variables)[variable]


def test_each_version_has_its_own_flags(configure: Configure) -> None:
    argv(configure("26.6.0", EPLB_REPLICAS_PER_GPU="1"))
    assert "EPLB_REPLICAS_PER_GPU" in problems(configure, "26.7.0", EPLB_REPLICAS_PER_GPU="1")


def test_a_missing_max_is_said_with_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    [needed] = MAXEngine.requirements(Environment.of({"MAX_COMMAND": "/no/such/max"}))
    assert not needed.met
    assert "/no/such/max" in needed.what
    assert 'uv pip install "max[serve]"' in needed.remedy
    engine = open_engine(Environment.of({"ENGINE": "max", "MODEL_NAME": "a/b", "MAX_COMMAND": "/no/such/max"}))
    assert argv(engine)[0] == "/no/such/max"  # type: ignore[arg-type]


def test_what_the_process_is_to_know(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_SERVE_DISABLE_TELEMETRY", "1")
    volume = tmp_path / "volume"
    volume.mkdir()
    environ = configure(
        BASE_PATH=str(volume), HF_TOKEN="hf_secret", MAX_SERVE_LOGS_CONSOLE_LEVEL="ERROR", HF_HUB_OFFLINE="1"
    ).environ()
    assert environ["OTEL_SDK_DISABLED"] == "true", "nothing is sent to Modular"
    assert environ["MAX_SERVE_DISABLE_TELEMETRY"] == "0", "else it has no metrics"
    assert environ["MODULAR_CACHE_DIR"] == f"{volume}/max-cache"
    assert environ["HF_HOME"] == f"{volume}/huggingface-cache"
    assert (environ["HF_TOKEN"], environ["HF_HUB_OFFLINE"]) == ("hf_secret", "1")
    assert environ["MAX_SERVE_LOGS_CONSOLE_LEVEL"] == "ERROR"


def test_users_of_max_serve_keep_their_host_and_port() -> None:
    assert MAXEngine.other_names["MAX_SERVE_PORT"] == OtherName("taken", "PORT")
    assert MAXEngine.other_names["MAX_SERVE_HOST"] == OtherName("taken", "HOST")


def test_importing_it_loads_no_library_of_max() -> None:
    code = (
        "import sys, engineroom_max; print([name for name in sys.modules if name.split('.')[0] in ('max', 'aiohttp')])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(FLAGS.glob("*.json")), ids=lambda path: path.stem)
def test_snapshots_hold_only_kinds_that_are_understood(path: Path) -> None:
    table = FlagTable.load(path)
    assert table.version == path.stem
    assert {flag.kind for flag in table.flags} <= {"bool", "choice", "float", "int", "json", "list", "str", "switch"}
    assert len(table.flags) > 100
    assert all(flag.negative for flag in table.flags if flag.kind == "bool")
    assert "MAX_SERVE_LOGS_CONSOLE_LEVEL" in table.environ
    assert not {"port", "host", "model_path", "served_model_name"} & {flag.name for flag in table.flags}
