"""What most servers of models have a setting for, by the names that are in use for it.

An engine declares which of its settings each one is (`Engine.usual_settings`), so that a name from elsewhere reaches
it, whatever engine runs; with an engine that has no such setting, a warning says so.
"""

from __future__ import annotations

from .other_names import UsualSetting

_ONE_OR_ALL = "some servers count one request's tokens under this name, others those of all requests"

CONTEXT_LENGTH = UsualSetting(
    "the length of a request's context",
    (
        "CONTEXT_LEN",
        "CONTEXT_LENGTH",
        "CONTEXT_SIZE",
        "CONTEXT_WINDOW",
        "CTX_LEN",
        "CTX_SIZE",
        "MAX_CONTEXT_LEN",
        "MAX_CONTEXT_LENGTH",
        "MAX_CONTEXT_SIZE",
        "MAX_MODEL_LEN",
        "MAX_SEQUENCE_LENGTH",
        "MAX_SEQ_LEN",
        "NUM_CTX",
        "N_CTX",
    ),
    (
        ("MAX_INPUT_LENGTH", "it counts prompt and answer together"),
        ("MAX_INPUT_TOKENS", "it counts prompt and answer together"),
        ("MAX_LENGTH", _ONE_OR_ALL),
        ("MAX_TOTAL_TOKENS", _ONE_OR_ALL),
    ),
)

PARALLEL_REQUESTS = UsualSetting(
    "the number of requests in one batch",
    (
        "MAX_BATCH_SIZE",
        "MAX_NUM_SEQS",
        "MAX_RUNNING_REQUESTS",
        "NUM_PARALLEL",
        "N_PARALLEL",
        "PARALLEL",
        "SLOTS",
    ),
    (("MAX_CLIENT_BATCH_SIZE", "it counts requests, not the prompts in one request"),),
)

BATCH_TOKENS = UsualSetting(
    "the number of tokens in one step",
    ("MAX_NUM_BATCHED_TOKENS",),
    (
        ("CHUNKED_PREFILL_SIZE", "it counts a whole step's tokens, those of answers included"),
        ("MAX_BATCH_PREFILL_TOKENS", "it counts a whole step's tokens, those of answers included"),
        ("MAX_PREFILL_TOKENS", "it counts a whole step's tokens, those of answers included"),
    ),
)

GPU_LAYERS = UsualSetting(
    "the number of layers on the GPU",
    ("GPU_LAYERS", "NGL", "NUM_GPU_LAYERS", "N_GPU_LAYERS"),
    (("NUM_GPU", "some programs count layers under this name, others GPUs"),),
)

GPU_MEMORY = UsualSetting(
    "the share of the GPU's memory",
    ("GPU_MEMORY_FRACTION", "GPU_MEMORY_UTILIZATION", "GPU_MEMORY_UTILISATION", "GPU_MEM_UTILIZATION"),
    (
        ("CUDA_MEMORY_FRACTION", "its share may be counted otherwise"),
        ("MEM_FRACTION_STATIC", "it counts the memory of running requests, too"),
    ),
)

TENSOR_PARALLEL = UsualSetting(
    "the number of GPUs that share each layer",
    ("NUM_SHARD", "TENSOR_PARALLEL", "TENSOR_PARALLEL_DEGREE", "TENSOR_PARALLEL_SIZE", "TP_SIZE"),
    (
        ("NUM_GPUS", "it counts the GPUs that share each layer"),
        ("SHARDED", "it takes the number of GPUs"),
    ),
)

QUANTISATION = UsualSetting(
    "how the weights are quantised",
    ("QUANTIZATION", "QUANTISATION", "QUANTIZATION_METHOD", "QUANTIZE"),
)

MODEL_REVISION = UsualSetting("the model's revision", ("HF_REVISION", "MODEL_REVISION", "MODEL_VERSION", "REVISION"))

DTYPE = UsualSetting("the type of the weights", ("DATA_TYPE", "DTYPE", "MODEL_DTYPE", "TORCH_DTYPE"))

TOKENIZER = UsualSetting(
    "another tokenizer", ("TOKENIZER", "TOKENIZER_ID", "TOKENIZER_NAME", "TOKENIZER_NAME_OR_PATH", "TOKENIZER_PATH")
)

THREADS = UsualSetting("the number of CPU threads", ("NUM_THREAD", "NUM_THREADS", "N_THREADS", "THREADS"))

CHAT_TEMPLATE = UsualSetting("another chat template", ("CHAT_TEMPLATE", "CHAT_TEMPLATE_PATH", "CUSTOM_CHAT_TEMPLATE"))

REMOTE_CODE = UsualSetting(
    "running code that comes with the model",
    ("ALLOW_REMOTE_CODE", "TRUST_REMOTE_CODE"),
)

KV_CACHE_TYPE = UsualSetting("the type of the KV cache", ("CACHE_DTYPE", "KV_CACHE_DTYPE", "KV_CACHE_TYPE"))

FLASH_ATTENTION = UsualSetting("flash attention", ("FLASH_ATTENTION", "FLASH_ATTN", "USE_FLASH_ATTENTION"))

ANSWER_LENGTH = UsualSetting(
    "the length of an answer that asks for none",
    ("DEFAULT_MAX_TOKENS", "MAX_NEW_TOKENS", "NUM_PREDICT", "N_PREDICT"),
)

_FOLDER = "adapters by name come from a folder of them"

ADAPTERS = UsualSetting(
    "LoRA adapters",
    ("LORA_ADAPTERS_DIR", "LORA_DIR"),
    (
        ("ENABLE_LORA", _FOLDER),
        ("LORA_ADAPTERS", _FOLDER),
        ("LORA_MODULES", _FOLDER),
        ("LORA_SOURCES", _FOLDER),
        ("MAX_LORAS", _FOLDER),
        ("MAX_LORA_RANK", _FOLDER),
    ),
)

USUAL_SETTINGS = (
    CONTEXT_LENGTH,
    PARALLEL_REQUESTS,
    BATCH_TOKENS,
    GPU_LAYERS,
    GPU_MEMORY,
    TENSOR_PARALLEL,
    QUANTISATION,
    MODEL_REVISION,
    DTYPE,
    TOKENIZER,
    THREADS,
    CHAT_TEMPLATE,
    REMOTE_CODE,
    KV_CACHE_TYPE,
    FLASH_ATTENTION,
    ANSWER_LENGTH,
    ADAPTERS,
)
"""All of them."""
