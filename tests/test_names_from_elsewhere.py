"""A wish is never silently not granted: names of other programs, near names, and secrets; and silence for the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import httpx
import pytest
from http_door import serving
from ordinary_environments import ORDINARY
from prepared_python import engineroom
from server_process import until

from engineroom import plugins
from engineroom.engine import Engine
from engineroom.errors import SettingsError
from engineroom.settings import Environment, KnownNames, Layer, NameCheck

KEY = "sk-canary"


@cache
def engine_names(engine: str, door: str | None) -> tuple[type[Engine], KnownNames]:
    """Kept, since an engine's flags are read for it."""
    engine_type, env = plugins.engine_class(Environment.of({"ENGINE": engine}))
    return engine_type, plugins.known_names(engine_type, env, door)


def checked(
    engine: str, values: dict[str, str], layer: str = "environment", door: str | None = "http"
) -> tuple[Environment, NameCheck]:
    """The environment as the engine gets it, and what becomes of its names."""
    layers = [
        Layer("command line", {"ENGINE": engine}, True),
        Layer(layer, values, layer not in ("environment", ".env")),
    ]
    engine_type, names = engine_names(engine, door)
    env = names.apply(Environment(layers)).with_defaults(engine_type.defaults)
    return env, names.check(env)


def outcome(engine: str, name: str, value: str, layer: str = "environment") -> tuple[str, str]:
    """`taken`, `refused` or `warned`, with the text that says so; `silent` where nothing does."""
    env, names = checked(engine, {name: value}, layer)
    if names.problems:
        return "refused", str(names.problems[0])
    if not names.notices:
        return "silent", ""
    notice = names.notices[0]
    if not notice.granted:
        return "warned", str(notice)
    assert notice.ours in env
    assert name in env.source(notice.ours)
    return "taken", notice.ours


TABLE = """
echo      MODEL                   /x.gguf     taken   MODEL_NAME
echo      MODEL_PATH              /x.gguf     taken   MODEL_NAME
echo      MODEL_ID                org/name    taken   MODEL_NAME
echo      HF_MODEL_ID             org/name    taken   MODEL_NAME
llamacpp  LLAMA_ARG_MODEL         /x.gguf     taken   MODEL_NAME
llamacpp  LLAMA_ARG_HF_REPO       org/name    taken   MODEL_NAME
llamacpp  LLAMA_ARG_HF_FILE       x.gguf      refused MODEL_NAME
llamacpp  OLLAMA_MODELS           /models     warned  MODEL_NAME
echo      VLLM_MODEL              org/name    warned  MODEL_NAME
echo      MODELNAME               org/name    refused MODEL_NAME
echo      MODEL_NAMES             org/name    refused MODEL_NAME
echo      MODLE_NAME              org/name    refused MODEL_NAME
echo      ENGINEROOM_MODEL_NAME   org/name    refused MODEL_NAME
echo      MODEL_ALIAS             small       taken   OPENAI_SERVED_MODEL_NAME_OVERRIDE
llamacpp  LLAMA_ARG_ALIAS         small       taken   OPENAI_SERVED_MODEL_NAME_OVERRIDE
echo      OPENAI_SERVED_MODEL_NAME small      taken OPENAI_SERVED_MODEL_NAME_OVERRIDE
echo      API_KEY                 sk-canary   taken   API_KEYS
echo      LLAMA_API_KEY           sk-canary   taken   API_KEYS
echo      LITELLM_MASTER_KEY      sk-canary   taken   API_KEYS
vllm      VLLM_API_KEY            sk-canary   taken   API_KEYS
echo      VLLM_API_KEY            sk-canary   warned  API_KEYS
echo      OLLAMA_API_KEY          sk-canary   warned  API_KEYS
echo      AUTH_TOKEN              sk-canary   warned  API_KEYS
echo      MASTER_KEY              sk-canary   warned  API_KEYS
echo      BEARER_TOKEN            sk-canary   warned  API_KEYS
echo      API_SECRET              sk-canary   warned  API_KEYS
echo      SERVER_PASSWORD         sk-canary   warned  API_KEYS
echo      APIKEY                  sk-canary   warned  API_KEYS
echo      APIKEYS                 sk-canary   refused API_KEYS
echo      API_KEEYS               sk-canary   refused API_KEYS
echo      HTTP_API_KEYS           sk-canary   refused API_KEYS
echo      ENGINEROOM_API_KEY      sk-canary   refused API_KEYS
echo      API_KEY_FILE            /keys       refused API_KEYS_FILE
echo      UVICORN_HOST            0.0.0.0     taken   HOST
llamacpp  LLAMA_ARG_HOST          0.0.0.0     taken   HOST
llamacpp  OLLAMA_HOST             0.0.0.0     warned  HOST
echo      OLLAMA_HOST             0.0.0.0     warned  HOST
echo      SERVER_HOST             0.0.0.0     warned  HOST
echo      HTTP_HOST               0.0.0.0     warned  HOST
echo      HOTS                    0.0.0.0     warned  HOST
echo      UVICORN_PORT            9000        taken   PORT
echo      HTTP_PORT               9000        warned  PORT
echo      VLLM_PORT               9000        warned  PORT
echo      PROT                    9000        refused PORT
echo      SSL_CERTFILE            /c.pem      taken   UVICORN_SSL_CERTFILE
echo      SSL_KEYFILE             /k.pem      taken   UVICORN_SSL_KEYFILE
echo      TLS_CERT                /c.pem      refused UVICORN_SSL_CERTFILE
echo      ALLOWED_ORIGINS         *           taken   CORS_ORIGINS
llamacpp  OLLAMA_ORIGINS          *           warned  CORS_ORIGINS
echo      RATE_LIMIT              60          refused REQUESTS_PER_MINUTE
echo      RPM_LIMIT               60          refused REQUESTS_PER_MINUTE
echo      TPM_LIMIT               60          refused TOKENS_PER_MINUTE
echo      MAX_PARALLEL_REQUESTS   8           refused MAX_CONCURRENT_REQUESTS
echo      MAX_QUEUE_SIZE          8           refused MAX_QUEUED_REQUESTS
echo      PAGES                   true        refused PAGE
echo      ENABLE_METRICS          true        taken   METRICS
echo      OTLP_ENDPOINT           http://c    refused OTEL_EXPORTER_OTLP_ENDPOINT
echo      REQUEST_TIMOUT          5           refused REQUEST_TIMEOUT
echo      REQUESTTIMEOUT          5           refused REQUEST_TIMEOUT
echo      REQUEST__TIMEOUT        5           refused REQUEST_TIMEOUT
echo      REQEUST_TIMEOUT         5           refused REQUEST_TIMEOUT
echo      STARTUP_TIMEOUT         5           refused START_TIMEOUT
echo      MAX_CONCURRENT_JOBS     5           warned  MAX_CONCURRENCY
echo      FAULT_AFTER             5           warned  ECHO_FAULT_AFTER
llamacpp  NUM_CTX                 4096        taken   KV_UNIFIED_PER_SLOT
llamacpp  OLLAMA_CONTEXT_LENGTH   4096        taken   KV_UNIFIED_PER_SLOT
llamacpp  MAX_MODEL_LEN           4096        taken   KV_UNIFIED_PER_SLOT
llamacpp  MAX_TOTAL_TOKENS        4096        refused KV_UNIFIED_PER_SLOT
llamacpp  CTXSIZE                 4096        refused CTX_SIZE
llamacpp  CTX_SIZ                 4096        refused CTX_SIZE
llamacpp  NGL                     99          taken   N_GPU_LAYERS
llamacpp  NUM_GPU                 99          refused N_GPU_LAYERS
llamacpp  LLAMA_ARG_N_GPU_LAYERS  99          taken   N_GPU_LAYERS
llamacpp  OLLAMA_NUM_PARALLEL     4           taken   PARALLEL
llamacpp  OLLAMA_FLASH_ATTENTION  1           taken   FLASH_ATTN
llamacpp  OLLAMA_KEEP_ALIVE       5m          warned  OLLAMA_KEEP_ALIVE
llamacpp  LLAMA_ARG_NO_SUCH_THING 1           warned  LLAMA_ARG_NO_SUCH_THING
llamacpp  GPU_MEMORY_UTILIZATION  0.9         warned  GPU_MEMORY_UTILIZATION
llamacpp  TENSOR_PARALLEL_SIZE    2           refused TENSOR_SPLIT
vllm      NUM_CTX                 4096        taken   MAX_MODEL_LEN
vllm      CONTEXT_LENGTH          4096        taken   MAX_MODEL_LEN
vllm      MAX_INPUT_LENGTH        4096        refused MAX_MODEL_LEN
vllm      MAX_RUNNING_REQUESTS    8           taken   MAX_NUM_SEQS
vllm      NUM_SHARD               2           taken   TENSOR_PARALLEL_SIZE
vllm      TP_SIZE                 2           taken   TENSOR_PARALLEL_SIZE
vllm      QUANTIZE                awq         taken   QUANTIZATION
vllm      MEM_FRACTION_STATIC     0.9         refused GPU_MEMORY_UTILIZATION
vllm      N_GPU_LAYERS            9           warned  N_GPU_LAYERS
vllm      GPU_MEMORY_UTILISATION  0.9         taken   GPU_MEMORY_UTILIZATION
vllm      GPU_MEMORYUTILIZATION   0.9         refused GPU_MEMORY_UTILIZATION
vllm      MAX_MODEL_LENGTH        4096        refused MAX_MODEL_LEN
vllm      VLLM_MAX_MODEL_LEN      4096        warned  MAX_MODEL_LEN
vllm      SWAP_SPACE              4           warned  SWAP_SPACE
max       MAX_MODEL_LEN           4096        taken   MAX_LENGTH
max       NUM_CTX                 4096        taken   MAX_LENGTH
max       TENSOR_PARALLEL_SIZE    2           refused DEVICES
fastdeploy NUM_CTX                4096        taken   MAX_MODEL_LEN
fastdeploy MODEL_REPO             org/name    taken   MODEL_NAME
transformers NUM_CTX              4096        taken   MAX_MODEL_LEN
transformers HUGGINGFACE_TOKEN    hf_canary   taken   HF_TOKEN
echo      NUM_CTX                 4096        warned  NUM_CTX
echo      LORA_DIR                /tmp        warned  LORA_DIR
echo      MAX_LORAS               2           warned  MAX_LORAS
transformers LORA_MODULES         a           warned  LORA_MODULES
max       LORA_DIR                /tmp        refused LORA_PATHS
sglang    MAX_MODEL_LEN           4096        taken   CONTEXT_LENGTH
sglang    TP_SIZE                 2           taken   TENSOR_PARALLEL_SIZE
sglang    DP_SIZE                 2           taken   DATA_PARALLEL_SIZE
sglang    GPU_MEMORY_UTILIZATION  0.9         taken   MEM_FRACTION_STATIC
sglang    MODEL_PATH              org/model   taken   MODEL_NAME
sglang    LORA_PATHS              a=/x        refused LORA_DIR
sglang    ENFORCE_EAGER           true        refused DISABLE_CUDA_GRAPH
sglang    ENABLE_FLASHINFER_MLA   true        warned  ATTENTION_BACKEND
ollama    NUM_CTX                 4096        taken   OLLAMA_CONTEXT_LENGTH
ollama    OLLAMA_NUM_CTX          4096        taken   OLLAMA_CONTEXT_LENGTH
ollama    N_GPU_LAYERS            9           taken   OLLAMA_NUM_GPU
ollama    OLLAMA_HOST             127.0.0.1   warned  HOST
ollama    OLLAMA_ORIGINS          *           warned  CORS_ORIGINS
ollama    OLLAMA_API_KEY          sk-canary   warned  ollama.com
ollama    OLLAMA_KEEPALIVE        5m          refused OLLAMA_KEEP_ALIVE
llamacpp  MAX_LORAS               2           refused LORA_DIR
llamacpp  SGLANG_API_KEY          sk-canary   warned  API_KEYS
echo      LOCALAI_API_KEY         sk-canary   warned  API_KEYS
echo      TABBY_API_KEY           sk-canary   warned  API_KEYS
echo      X_API_KEY               sk-canary   warned  API_KEYS
echo      ALLOWED_API_KEYS        sk-canary   warned  API_KEYS
echo      ENGINE_ROOM_API_KEYS    sk-canary   refused API_KEYS
echo      api_key                 sk-canary   warned  API_KEYS
echo      apiKeys                 sk-canary   warned  API_KEYS
echo      model-name              org/name    warned  MODEL_NAME
echo      NIM_MODEL_NAME          org/name    warned  MODEL_NAME
llamacpp  LLAMA_CPP_MODEL         /x.gguf     warned  MODEL_NAME
llamacpp  LM_STUDIO_PORT          1234        warned  PORT
echo      MODEL_LOCAL_PATH        /x          warned  MODEL_NAME
echo      ENGINEROOM_ENGINE       vllm        refused ENGINE?
echo      TIMEOUT_REQUEST         5           warned  REQUEST_TIMEOUT
echo      TLS_CERT_PATH           /c.pem      refused UVICORN_SSL_CERTFILE
echo      USE_TLS                 true        warned  UVICORN_SSL_CERTFILE
echo      WORKERS                 4           warned  DOOR_PROCESSES
upstream  UPSTREAM_URL            http://a    refused UPSTREAM_URLS
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
SPOKEN_OF = (
    "echo",
    "llamacpp",
    "vllm",
    "max",
    "fastdeploy",
    "ollama",
    "openvino",
    "sglang",
    "transformers",
    "upstream",
)


@pytest.mark.parametrize(("engine", "name", "value", "expected", "ours"), ROWS, ids=lambda text: text)
def test_a_name_from_elsewhere(engine: str, name: str, value: str, expected: str, ours: str) -> None:
    became, text = outcome(engine, name, value)
    assert (became, ours in text) == (expected, True), text
    assert "canary" not in text


@pytest.mark.parametrize(
    "engine",
    ["echo", "llamacpp", "vllm", "max", "fastdeploy", "ollama", "openvino", "sglang", "transformers", "upstream"],
)
@pytest.mark.parametrize("door", ["http", "runpod"])
@pytest.mark.parametrize("layer", ["environment", ".env"])
def test_what_is_not_meant_for_us_is_not_spoken_of(engine: str, door: str, layer: str) -> None:
    everywhere = {name: value for place in ORDINARY.values() for name, value in place.items()}
    _, names = checked(engine, everywhere, layer, door)
    assert names == NameCheck([], [], ())


def test_every_name_a_process_may_have_is_near_to_itself_only() -> None:
    """No setting's own name is ever reported, whichever engine and door."""
    for engine in plugins.engine_names():
        engine_type, env = plugins.engine_class(Environment.of({"ENGINE": engine}))
        ours = {s.name: "1" for group in plugins.settings_groups(engine_type, env) for s in group.describe()}
        _, names = checked(engine, ours, "config file", None)
        assert not names.problems
        assert not names.notices


@pytest.mark.parametrize(
    "engine",
    ["echo", "llamacpp", "vllm", "max", "fastdeploy", "ollama", "openvino", "sglang", "transformers", "upstream"],
)
def test_other_names_lead_to_settings(engine: str) -> None:
    """A name that is taken or refused for a setting that is none would be a wish lost."""
    engine_type, env = plugins.engine_class(Environment.of({"ENGINE": engine}))
    groups = plugins.settings_groups(engine_type, env)
    known = {name for group in groups for setting in group.describe() for name in setting.names}
    tables = [engine_type.other_names, *(getattr(group, "other_names", {}) for group in groups)]
    named = {other.ours for table in tables for other in table.values() if other.ours}
    assert named | set(engine_type.usual_settings.values()) <= known


ENGINES = Path(__file__).parents[1] / "engines"
SNAPSHOTS = sorted((*ENGINES.glob("*/engineroom_*/flags/*.json"), *ENGINES.glob("*/engineroom_*/flags.json")))


@pytest.mark.parametrize("snapshot", SNAPSHOTS, ids=lambda path: str(path.relative_to(ENGINES)))
def test_no_flag_of_an_engine_vanishes(snapshot: Path) -> None:
    """Each flag of each version is a setting, or its variable has an answer, also in the environment of the process."""
    engine = snapshot.relative_to(ENGINES).parts[0]
    engine_type, env = plugins.engine_class(Environment.of({"ENGINE": engine}))
    groups = plugins.settings_groups(engine_type, env)
    settings = {name for group in groups for setting in group.describe() for name in setting.names}
    flags = json.loads(snapshot.read_text())["flags"]
    assert len(flags) > 20
    aside = {flag["name"].upper() for flag in flags} - settings
    silent = [name for name in aside if outcome(engine, name, "1", "environment")[0] == "silent"]
    assert silent == []


@pytest.mark.parametrize("layer", ["environment", ".env", "config file"])
@pytest.mark.parametrize("name", ["REQUEST_TIMOUT", "APIKEYS", "RATE_LIMIT"])
def test_a_wish_that_is_clear_is_refused_wherever_it_stands(name: str, layer: str) -> None:
    became, text = outcome("echo", name, "5", layer)
    assert became == "refused"
    assert layer in text


def test_a_file_of_ours_refuses_what_elsewhere_is_a_warning() -> None:
    for name in ("AUTH_TOKEN", "OLLAMA_API_KEY", "SERVER_HOST", "HOTS", "NOBODYS_NAME"):
        assert outcome("echo", name, "x", "config file")[0] == "refused", name


@pytest.mark.parametrize("name", ["model_name", "modelName", "model-name", "api_keys", "port"])
def test_small_letters_in_dotenv_are_no_setting_and_are_told(name: str) -> None:
    became, text = outcome("echo", name, "9000", ".env")
    assert (became, "written in capitals" in text) == ("refused", True)


def test_small_letters_beside_the_right_name_are_left_alone() -> None:
    _, names = checked("echo", {"port": "1", "PORT": "9000"}, ".env")
    assert names == NameCheck([], [], ())


def test_ours_goes_before_another_programs_name_in_the_same_layer() -> None:
    env, names = checked("echo", {"MODEL": "theirs", "MODEL_NAME": "ours"})
    assert env["MODEL_NAME"] == "ours"
    assert [str(notice) for notice in names.warnings] == [
        "MODEL (from environment) is not used: MODEL_NAME is set, too (from environment)"
    ]


def test_the_higher_layer_counts_whichever_name_it_uses() -> None:
    layers = [Layer("environment", {"MODEL": "high"}, False), Layer(".env", {"MODEL_NAME": "low"}, False)]
    _, names = engine_names("echo", "http")
    env = names.apply(Environment(layers))
    assert (env["MODEL_NAME"], env.source("MODEL_NAME")) == ("high", "environment as MODEL")


def test_what_is_near_to_one_that_is_set_stops_no_start() -> None:
    """Who sets ours knows it; the other name is there for another program."""
    _, names = checked("echo", {"RATE_LIMIT": "60", "REQUESTS_PER_MINUTE": "60"})
    assert not names.problems
    assert [notice.variable for notice in names.warnings] == ["RATE_LIMIT"]


def test_a_setting_of_the_other_door_is_named() -> None:
    _, names = checked("echo", {"MAX_CONCURRENCY": "5", "HOST": "0.0.0.0"})
    assert names.idle == ("MAX_CONCURRENCY",)
    _, names = checked("echo", {"API_KEYS": KEY, "DRAIN_TIMEOUT": "5"}, door="runpod")
    assert names.idle == ("API_KEYS",)


def test_no_engine_is_named_but_one_was_meant() -> None:
    with pytest.raises(SettingsError, match="did you mean ENGINE"):
        plugins.engine_class(Environment([Layer("environment", {"ENGIN": "echo"}, False)]))


@pytest.mark.parametrize("name", ["API_KEY", "LLAMA_API_KEY", "LITELLM_MASTER_KEY"])
def test_a_key_by_another_name_locks_the_door(name: str) -> None:
    with serving({name: KEY, "HOST": "0.0.0.0"}) as door:
        url = f"{door.url}/v1/models"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert f"{name} as API_KEYS" in door.log
        assert "anyone who reaches" not in door.log
        assert KEY not in door.log


@pytest.mark.parametrize("name", ["AUTH_TOKEN", "OLLAMA_API_KEY", "VLLM_API_KEY", "APIKEY", "API_PASSWORD"])
def test_what_looks_like_a_key_leaves_no_public_door_open(name: str) -> None:
    with serving({name: KEY, "HOST": "0.0.0.0"}, ready=False) as door:
        assert door.ended() == 2
        assert name in door.log
        assert "set API_KEYS" in door.log
        assert KEY not in door.log


def test_what_looks_like_a_key_is_a_warning_on_loopback_and_with_keys() -> None:
    with serving({"AUTH_TOKEN": KEY}) as door:
        until(lambda: "ready: " in door.log)
        assert "WARNING AUTH_TOKEN (from environment) is not used" in door.log
        assert KEY not in door.log
    with serving({"AUTH_TOKEN": KEY, "API_KEYS": "sk-ours", "HOST": "0.0.0.0"}) as door:
        assert httpx.get(f"{door.url}/v1/models").status_code == 401


def test_a_public_door_without_keys_says_so_last_before_it_is_ready() -> None:
    with serving({"HOST": "0.0.0.0"}) as door:
        until(lambda: "ready: " in door.log)
        lines = door.log.splitlines()
        ready = next(number for number, line in enumerate(lines) if "ready: " in line)
        assert "WARNING anyone who reaches this machine may use the model" in lines[ready - 1]
    with serving() as door:
        assert "anyone who reaches" not in door.log


def test_another_programs_names_reach_a_real_server() -> None:
    with serving({"MODEL": "renamed", "RATE_LIMT": "1"}, ready=False) as door:
        assert door.ended() == 2
        assert "did you mean REQUESTS_PER_MINUTE?" in door.log
    with serving({"MODEL": "renamed"}) as door:
        assert httpx.get(f"{door.url}/v1/models").json()["data"][0]["id"] == "renamed"


@pytest.mark.parametrize(
    ("arguments", "setting", "value"),
    [
        (["--engine", "vllm", "--max-model-len", "4096"], "MAX_MODEL_LEN", "4096"),
        (["--engine=llamacpp", "--ctx-size=4096"], "CTX_SIZE", "4096"),
        (["--engine", "echo", "--api-key", KEY], "API_KEYS", "********"),
        (["--engine", "echo", "--page"], "PAGE", "true"),
    ],
    ids=str,
)
def test_a_setting_may_be_an_option(arguments: list[str], setting: str, value: str) -> None:
    done = engineroom("config", "--json", *arguments)
    (row,) = [row for row in json.loads(done.stdout) if row["name"] == setting]
    assert row["source"].startswith("command line")
    assert row["value"] == value
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["--engine", "llamacpp", "--ctxsize=4096"], "CTX_SIZE"), (["--request-timout", "2"], "REQUEST_TIMEOUT")],
    ids=str,
)
def test_an_option_that_is_no_setting_is_refused_like_a_variable(arguments: list[str], meant: str) -> None:
    done = engineroom("serve", *arguments)
    assert done.returncode == 2
    assert f"(from command line): no such setting; did you mean {meant}?" in done.stderr


def test_a_setting_as_an_option_of_another_command_is_named() -> None:
    done = engineroom("models", "--ctx-size", "4096")
    assert done.returncode == 2
    assert "It is the setting CTX_SIZE:" in done.stderr


def test_the_page_of_other_names_is_what_the_tables_say() -> None:
    tool = Path(__file__).parents[1] / "tools" / "other_names.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], timeout=60, check=False)
    assert done.returncode == 0, "run tools/other_names.py"
