"""Why a model cannot be loaded: what OpenVINO's errors mean."""

from __future__ import annotations

from engineroom.server import Cause, Diagnostics

DIAGNOSTICS = Diagnostics(
    causes=(
        Cause(
            r"libOpenCL\.so\.1: cannot open shared object file",
            "DEVICE={DEVICE} needs OpenCL and Intel's driver: install intel-opencl-icd, or set DEVICE=CPU",
        ),
        Cause(r"failed at \S+/gguf\w*\.cpp", "MODEL_NAME={MODEL_NAME} is damaged or cut short: download it again"),
        Cause(r"(?P<why>DEVICE=\S+ is not there: [^\n]+)", "{why}"),
        Cause(
            r"kvcache type \w+, current: \w+|Wrong value \S+ for property key KV_CACHE_PRECISION",
            "KV_CACHE_PRECISION={KV_CACHE_PRECISION} does not suit this device and precision: leave it out",
        ),
        Cause(
            r"[Uu]nsupported (?:model )?architecture:? '?(?P<name>[\w.-]+)",
            "MODEL_NAME={MODEL_NAME} has the architecture {name}, which OpenVINO's reader of GGUF files does not know: "
            "set GGUF_READER=FRONTEND, or take the model in OpenVINO's own format",
        ),
        Cause(
            r"bad_alloc|[Cc]an(?:not|'t) allocate|out of memory|CL_OUT_OF_RESOURCES",
            "MODEL_NAME={MODEL_NAME} does not fit into memory: take a smaller one, or a lower KV_CACHE_TOKENS",
        ),
    )
)
