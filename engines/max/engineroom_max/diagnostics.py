"""Why MAX fails: what its errors mean."""

from __future__ import annotations

from engineroom.process import LogFormat
from engineroom.server import LIBRARY_CAUSES, Cause, Diagnostics

_CAUSES = (
    Cause(
        r"(?:max_length|MAX_LENGTH) \((?P<value>\d+)\) exceeds the model's[^(]*\((?P<limit>\d+)\)",
        "MAX_LENGTH={value} exceeds the model's own context of {limit} tokens: lower it, or leave it out",
    ),
    Cause(
        r"(?P<what>[^\n:]*(?:exceeds available memory|out of memory)[^\n]*)",
        "memory is too small for MODEL_NAME={MODEL_NAME} ({what}): lower MAX_LENGTH or MAX_BATCH_SIZE, or take a "
        "larger "
        "larger GPU",
    ),
    Cause(
        r"(?P<what>compatible weights cannot be found[^\n]*)",
        "MODEL_NAME={MODEL_NAME} has no weights that fit ({what}): QUANTIZATION_ENCODING says which to take",
    ),
    Cause(
        r"(?P<name>\w+)'? not found in registry",
        "MODEL_NAME={MODEL_NAME} is of the architecture {name}, which this MAX does not know: a newer one may, else "
        "take another model",
    ),
    Cause(r"no GPUs are available", "MAX sees no GPU: give the machine one, or set DEVICES=cpu"),
    Cause(
        r"LoRA is not compatible with prefix caching",
        "ENABLE_LORA=true and prefix caching do not go together: set ENABLE_PREFIX_CACHING=false",
    ),
    Cause(
        r"--chat-template path \((?P<path>[^)]+)\) does not exist",
        "CHAT_TEMPLATE={path} is not there: name a file that is, or leave it out",
    ),
    Cause(
        r"No config\.json or scheduler_config\.json found",
        "MODEL_NAME={MODEL_NAME} has no config.json: add the one of the model's page, or name the folder that has it",
    ),
    *LIBRARY_CAUSES,
)

DIAGNOSTICS = Diagnostics(
    LogFormat((r"\d\d:\d\d:\d\d\.\d{3} (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL): ",)), _CAUSES
)
