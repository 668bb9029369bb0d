"""llama.cpp's own command-line parser, as it is linked into xllamacpp, for the snapshot and for the tests.

    python real_parser.py help                 what `llama-server --help` would print
    python real_parser.py params < LINES       for each command line (a JSON list) the CommonParams it gives (as JSON)

xllamacpp does not offer its parser, but exports the C++ function. For development only, in a process of its own: how
its arguments are laid out is looked at, not promised, and a wrong guess ends the process.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from typing import Any

_PARSE = "_Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E"
_SERVER_EXAMPLE = range(10, 16)
"""Where LLAMA_EXAMPLE_SERVER may be in llama.cpp's enum; it is the one that takes `--slots`."""


def main() -> int:
    import xllamacpp

    if sys.argv[1] == "help":
        _parse(xllamacpp.CommonParams(), ["--help"], _server_example())
        return 0
    example = _server_example()
    for line in sys.stdin:
        params = xllamacpp.CommonParams()
        parsed = _parse(params, json.loads(line), example)
        print(json.dumps(values(params) if parsed else None), flush=True)
    return 0


def values(params: Any) -> dict[str, Any]:
    """All parameters by dotted name."""
    plain: dict[str, Any] = {}
    for name in dir(params):
        if name.startswith("__"):
            continue
        value = getattr(params, name)
        if hasattr(value, "value"):
            plain[name] = value.value
        elif type(value).__module__.startswith("xllamacpp"):
            plain |= {f"{name}.{inner}": inside for inner, inside in values(value).items()}
        elif isinstance(value, (set, frozenset)):
            plain[name] = sorted(value)
        elif isinstance(value, list):
            plain[name] = [values(item) if type(item).__module__.startswith("xllamacpp") else item for item in value]
        elif not callable(value):
            plain[name] = value
    return plain


def _server_example() -> int:
    import xllamacpp

    for number in _SERVER_EXAMPLE:
        if _parse(xllamacpp.CommonParams(), ["--slots"], number):
            return number
    raise SystemExit("no example of this llama.cpp takes --slots")


def _parse(params: Any, arguments: list[str], example: int) -> bool:
    import xllamacpp

    parse = getattr(ctypes.CDLL(xllamacpp.xllamacpp.__file__), _PARSE)
    parse.restype = ctypes.c_bool
    encoded = [argument.encode() for argument in ["llama-server", *arguments]]
    argv = (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)
    return bool(parse(len(encoded), argv, ctypes.c_void_p(id(params) + _header()), example, None))


def _header() -> int:
    """Bytes of the Python object before the C++ struct, whose n_predict and n_ctx are in its first bytes."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    marks = 0x5EA10001, 0x5EA10002
    params.n_predict, params.n_ctx = (mark - (1 << 32) if mark >> 31 else mark for mark in marks)
    raw = ctypes.string_at(id(params), 256)
    if min(raw.find(struct.pack("<I", mark)) for mark in marks) < 16:
        raise SystemExit("CommonParams is laid out in another way now")
    return object.__basicsize__


if __name__ == "__main__":
    sys.exit(main())
