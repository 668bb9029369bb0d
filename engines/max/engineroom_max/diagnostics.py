"""Why MAX fails: what its errors mean."""

from __future__ import annotations

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
    *LIBRARY_CAUSES,
)

DIAGNOSTICS = Diagnostics(causes=_CAUSES)
