"""Names for llama.cpp's flags: its server's own, and those of Ollama, llama-cpp-python and other programs over it."""

from __future__ import annotations

from collections.abc import Mapping

from engineroom.settings import OtherName, UsualSetting, doubted, dropped, refused, taken
from engineroom.settings import usual_settings as usual

from .flags import snapshot

NAMESPACE = "LLAMA_ARG_"
"""What llama.cpp's own variables begin with."""

USUAL_SETTINGS: Mapping[UsualSetting, str] = {
    usual.CONTEXT_LENGTH: "KV_UNIFIED_PER_SLOT",  # A slot's share of the context is what one request gets.
    usual.PARALLEL_REQUESTS: "PARALLEL",
    usual.BATCH_TOKENS: "BATCH_SIZE",
    usual.GPU_LAYERS: "N_GPU_LAYERS",
    usual.THREADS: "THREADS",
    usual.FLASH_ATTENTION: "FLASH_ATTN",
    usual.ANSWER_LENGTH: "N_PREDICT",
    usual.ADAPTERS: "LORA_DIR",
}

_ITS_OWN = "the worker starts llama.cpp, and decides that itself; remove it"


def _switch(text: str) -> str:
    """Ollama's boolean as FLASH_ATTN takes it."""
    return "on" if text.strip().lower() in ("1", "true", "yes", "on") else "off"


def names() -> dict[str, OtherName]:
    """Every other name -> what becomes of it. A later line wins over an earlier one."""
    own = {name: OtherName("taken", flag) for name, flag in snapshot().aliases.items()}
    return {
        **own,
        **taken("CTX_SIZE", ["N_CTX"]),
        **taken("BATCH_SIZE", ["N_BATCH"]),
        **taken("UBATCH_SIZE", ["N_UBATCH"]),
        **taken("THREADS_BATCH", ["N_THREADS_BATCH"]),
        **taken("MMPROJ", ["CLIP_MODEL_PATH", "MMPROJ_PATH"]),
        **taken("LORA", ["LORA_PATH"]),
        **taken("MODEL_NAME", ["LLAMA_ARG_MODEL", "LLAMA_ARG_HF_REPO"]),
        **taken("OPENAI_SERVED_MODEL_NAME_OVERRIDE", ["LLAMA_ARG_ALIAS"]),
        **taken("HOST", ["LLAMA_ARG_HOST"]),
        **taken("PORT", ["LLAMA_ARG_PORT"]),
        **taken("API_KEYS", ["LLAMA_ARG_API_KEY"]),
        **taken("METRICS", ["LLAMA_ARG_ENDPOINT_METRICS"]),
        **taken("UVICORN_SSL_CERTFILE", ["LLAMA_ARG_SSL_CERT_FILE"]),
        **taken("UVICORN_SSL_KEYFILE", ["LLAMA_ARG_SSL_KEY_FILE"]),
        **taken("KV_UNIFIED_PER_SLOT", ["OLLAMA_CONTEXT_LENGTH", "OLLAMA_NUM_CTX"]),
        **taken("PARALLEL", ["OLLAMA_NUM_PARALLEL"]),
        **taken("FLASH_ATTN", ["OLLAMA_FLASH_ATTENTION"], _switch),
        **refused("API_KEYS_FILE", "a YAML or JSON file of keys by name", ["LLAMA_ARG_API_KEY_FILE"]),
        **refused(
            "MODEL_NAME",
            "a file, or org/name:QUANT for a file of a hub's repository",
            ["LLAMA_ARG_HF_FILE", "LLAMA_ARG_MODEL_URL"],
        ),
        **refused(
            "CACHE_TYPE_K",
            "and CACHE_TYPE_V for the other half of the cache",
            ["CACHE_TYPE", "KV_CACHE_DTYPE", "KV_CACHE_TYPE"],
        ),
        **refused("LOAD_MODE", "how the model's file is read", ["MLOCK", "MMAP", "USE_MLOCK", "USE_MMAP"]),
        **refused("CHAT_TEMPLATE", "the name of a template, or CHAT_TEMPLATE_FILE", ["CHAT_FORMAT"]),
        **refused("TENSOR_SPLIT", "each GPU's part of the model, as 1,1", [*usual.TENSOR_PARALLEL.names, "NUM_GPUS"]),
        **doubted("REQUEST_TIMEOUT", "a number of seconds", ["LLAMA_ARG_TIMEOUT"]),
        **doubted("HOST", "and PORT; this one is Ollama's own, and its client's", ["OLLAMA_HOST"]),
        **doubted("MODEL_NAME", "a GGUF file, or org/name:QUANT of the hub", ["OLLAMA_MODEL", "OLLAMA_MODELS"]),
        **doubted("CORS_ORIGINS", "the origins, separated by commas", ["OLLAMA_ORIGINS"]),
        **doubted("CACHE_TYPE_K", "and CACHE_TYPE_V for the other half of the cache", ["OLLAMA_KV_CACHE_TYPE"]),
        **doubted("MAX_QUEUED_REQUESTS", "where MAX_CONCURRENT_REQUESTS is set", ["OLLAMA_MAX_QUEUE"]),
        **doubted("START_TIMEOUT", "a number of seconds", ["OLLAMA_LOAD_TIMEOUT"]),
        **doubted("LOG_LEVEL", "DEBUG for more", ["OLLAMA_DEBUG"]),
        **dropped(
            {
                "LLAMA_ARG_THREADS_HTTP": _ITS_OWN,
                "OLLAMA_KEEP_ALIVE": "the model stays loaded for as long as the worker runs",
                "OLLAMA_MAX_LOADED_MODELS": "a worker has one model",
            }
        ),
    }
