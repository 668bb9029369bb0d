"""SGLang's settings: its flags as its own parser has them, and the names that other workers have for them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from engineroom.installation import how_to_install
from engineroom.models import HubSettings
from engineroom.server import EnginePython, find_python
from engineroom.settings import FlagsAside, FlagTable, OtherName, UsualSetting, doubted, dropped, refused, taken
from engineroom.settings import usual_settings as usual

SNAPSHOTS = Path(__file__).with_name("flags")

DEFAULTS = {"enable_metrics": "true"}
"""Flags that are given unless the user sets them: the worker's own metrics are read from SGLang's."""

USUAL_SETTINGS: Mapping[UsualSetting, str] = {
    usual.CONTEXT_LENGTH: "CONTEXT_LENGTH",
    usual.ADAPTERS: "LORA_DIR",
    usual.PARALLEL_REQUESTS: "MAX_RUNNING_REQUESTS",
    usual.BATCH_TOKENS: "CHUNKED_PREFILL_SIZE",
    usual.GPU_MEMORY: "MEM_FRACTION_STATIC",
    usual.TENSOR_PARALLEL: "TENSOR_PARALLEL_SIZE",
    usual.QUANTISATION: "QUANTIZATION",
    usual.MODEL_REVISION: "REVISION",
    usual.DTYPE: "DTYPE",
    usual.TOKENIZER: "TOKENIZER_PATH",
    usual.CHAT_TEMPLATE: "CHAT_TEMPLATE",
    usual.REMOTE_CODE: "TRUST_REMOTE_CODE",
    usual.KV_CACHE_TYPE: "KV_CACHE_DTYPE",
}

OTHER_NAMES: Mapping[str, OtherName] = {
    **taken("MODEL_NAME", ["MODEL_PATH"]),
    **taken("OPENAI_SERVED_MODEL_NAME_OVERRIDE", ["SERVED_MODEL_NAME"]),
    **taken("REVISION", ["MODEL_REVISION"]),
    **taken("DATA_PARALLEL_SIZE", ["DP_SIZE"]),
    **taken("PIPELINE_PARALLEL_SIZE", ["PP_SIZE"]),
    **taken("EXPERT_PARALLEL_SIZE", ["EP_SIZE"]),
    **refused("DISABLE_RADIX_CACHE", "true or false", ["ENABLE_PREFIX_CACHING", "PREFIX_CACHING"]),
    **refused("DISABLE_CUDA_GRAPH", "true or false", ["CUDA_GRAPHS", "ENFORCE_EAGER"]),
    **refused("LORA_DIR", "a folder of adapters, each asked for by its name", ["LORA_PATHS", "LORA_MODULES"]),
    **dropped(
        {
            "ENABLE_FLASHINFER_MLA": "SGLang takes it where it suits; ATTENTION_BACKEND says otherwise",
            "LOG_LEVEL_HTTP": "the door has an access log of its own (ACCESS_LOG)",
            "TOKENIZER_NAME": "TOKENIZER_PATH names another tokenizer than the model's",
            "TOKENIZER_REVISION": "the tokenizer is of the model's revision",
        }
    ),
}
"""A later line wins over an earlier one."""

_CLIENTS = "the worker listens at HOST and PORT, and SGLang at a port of the worker's"

ASIDE = FlagsAside(
    "SGLang's flags that the worker gives",
    {
        **dict.fromkeys(("LORA_PATHS", "MODEL_PATH", "SERVED_MODEL_NAME", "API_KEY", "HOST", "PORT", "LOG_LEVEL")),
        **refused("", _CLIENTS, ("FASTAPI_ROOT_PATH", "GRPC_MODE", "GRPC_PORT", "SMG_GRPC_MODE")),
        **doubted("", "set ENGINEROOM_CONFIG to a file of settings", ("CONFIG",)),
    },
)
"""Flags that are not settings: this worker gives them, or they are about a socket that no client sees."""

CACHES = ("SGLANG_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE")
"""Variables that name the folders of what is compiled."""


class SGLangSettings(HubSettings):
    """Where SGLang is."""

    title: ClassVar[str] = "SGLang"
    sglang_python: str | None = Field(None, description="The Python that has SGLang, if it is another than this one.")


@functools.cache
def find(python: str | None) -> EnginePython:
    """The Python that has SGLang: the one given, else the first that there is."""
    return find_python(("sglang",), python)


def remedy() -> str:
    """What to do where no SGLang is installed."""
    return f"{how_to_install('engineroom-sglang[engine]')}, or set SGLANG_PYTHON to the Python that has it"


@functools.cache
def all_flags(version: str | None) -> FlagTable:
    """Every flag of the version that runs, or of the nearest one known."""
    return FlagTable.nearest(SNAPSHOTS, version)


@functools.cache
def table(version: str | None) -> FlagTable:
    """Those that are settings."""
    return all_flags(version).without(ASIDE).with_defaults(DEFAULTS)
