"""Print every flag of `sglang.launch_server` as JSON, asked of the installed SGLang's own parser. Needs no GPU.

The output is what `engineroom.settings.FlagTable` reads: a row for each destination, one a line, so that versions can
be compared with `diff`, and the environment variables that this version reads. Help texts are left out: they are
upstream's sentences.

Left out, too, are the flags that this worker gives itself, and what its doors do (keys, TLS, clients' addresses).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

NOT_SETTINGS = re.compile(
    r"host|port|model_path|served_model_name|(admin_)?api_key|ssl_.*|config|fastapi_root_path|log_level(_http)?|"
    r"enable_http2|uvicorn_.*|http2_.*|use_ray|enable_metrics_for_all_schedulers"
)
"""Destinations that are no settings of this worker's user."""
SIZES = {"human_readable_int"}
JSON_TYPES = {"loads", "json_list_type"}
TYPES = {"int", "float", "str"}


def main() -> int:
    # SGLang writes log lines to stdout while it is imported.
    out, sys.stdout = sys.stdout, sys.stderr
    from sglang.srt import environ
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    rows = sorted(rows_of(parser), key=lambda row: str(row["name"]))
    variables = sorted(name for name in vars(type(environ.envs)) if name.startswith(("SGLANG_", "SGL_")))
    print(f'{{"engine": "SGLang", "version": "{metadata.version("sglang")}", "flags": [', file=out)
    print(",\n".join(json.dumps(row, ensure_ascii=False) for row in rows), file=out)
    print("],", file=out)
    print('"environ": [' + ",\n".join(map(json.dumps, variables)) + "]}", file=out)
    return 0


def rows_of(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    """A row for each flag that is a setting; what is empty is left out."""
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--") and not _denies(action, flag)]
        if not flags or action.dest == "help" or NOT_SETTINGS.fullmatch(action.dest):
            continue
        kind, extra = _kind(action)
        negative = [flag for flag in action.option_strings if _denies(action, flag)]
        row = {
            # The longest form, `--tensor-parallel-size` of `--tp-size`, is the one that other workers name it by.
            "name": max(flags, key=len).lstrip("-").replace("-", "_"),
            "flags": sorted(flags, key=len, reverse=True),
            "kind": kind,
            **extra,
            "negative": negative[0] if negative else None,
            "default": _default(action.default),
        }
        yield {key: value for key, value in row.items() if value is not None}


def _denies(action: argparse.Action, flag: str) -> bool:
    """Whether it is the flag of a pair that means false."""
    return isinstance(action, argparse.BooleanOptionalAction) and flag.startswith("--no-")


def _kind(action: argparse.Action) -> tuple[str, dict[str, Any]]:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool", {}
    if action.nargs == 0:
        return "switch", {}
    item, extra = _item(action)
    if action.nargs in ("+", "*"):
        return "list", {"item": "str" if item == "choice" else item, **extra}
    return item, extra


def _item(action: argparse.Action) -> tuple[str, dict[str, Any]]:
    """The kind of one value: choices, or what its converting function is for."""
    if action.choices is not None:
        return "choice", {"choices": [str(choice) for choice in action.choices if choice is not None]}
    name = getattr(action.type, "__name__", "str")
    if name in SIZES:
        return "suffixed_int", {}
    if name in JSON_TYPES:
        return "json", {}
    return (name if name in TYPES else "str"), {}


def _default(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float, str)) and value != "" else None


if __name__ == "__main__":
    sys.exit(main())
