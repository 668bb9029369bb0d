"""Print every flag of `max serve` as JSON, asked of the installed MAX's own parser. Runs in MAX's Python.

The output is what `engineroom.settings.FlagTable` reads: a row for each destination, one a line, so that versions
can be compared with `diff`; and the environment variables that MAX's server and what it is built on read. Help texts
are left out: they are upstream's sentences.

Left out, too, are the flags that this worker gives itself, and those that print something or need a second machine.
"""

from __future__ import annotations

import enum
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

NOT_SETTINGS = re.compile(
    r"host|port|model_path|served_model_name|headless|log_prefix|eplb_stats|pretty_print_config|_click_default_help|"
    r"(draft_)?(section_name|config_file)|draft_served_model_name|cascade.*|pipeline_role|debug_verify_replay"
)
LIBRARIES = (
    *("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"),
    *("HF_HUB_ENABLE_HF_TRANSFER", "HF_XET_HIGH_PERFORMANCE", "HUGGINGFACE_HUB_CACHE", "MODULAR_CACHE_DIR"),
    *("MODULAR_DERIVED_PATH", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "TRANSFORMERS_OFFLINE"),
)
OURS = {
    *("MAX_SERVE_DISABLE_TELEMETRY", "MAX_SERVE_HEADLESS", "MAX_SERVE_HOST", "MAX_SERVE_METRICS_ENDPOINT_PORT"),
    *("MAX_SERVE_OFFLINE_INFERENCE", "MAX_SERVE_PORT", "MAX_SERVE_MAX_QUEUE_SIZE", "MAX_SERVE_MAX_PENDING_REQUESTS"),
}
"""Variables that this worker sets itself, or that are flags as well."""


def main() -> int:
    # MAX writes log lines to stdout while it is imported.
    out, sys.stdout = sys.stdout, sys.stderr
    import click
    from max._entrypoints.pipelines import main as program
    from max.serve.config import Settings

    serve = program.commands["serve"]
    parameters = serve.get_params(click.Context(serve))
    rows = sorted(rows_of(parameters), key=lambda row: str(row["name"]))
    aliases = {str(field.alias) for field in Settings.model_fields.values() if field.alias}
    version = re.sub(r"^(\d+\.\d+).*", r"\1", metadata.version("max"))
    print(f'{{"engine": "MAX", "version": "{version}", "flags": [', file=out)
    print(",\n".join(json.dumps(row) for row in rows), file=out)
    print("],", file=out)
    print('"environ": [' + ",\n".join(map(json.dumps, sorted(aliases - OURS | {*LIBRARIES}))) + "]}", file=out)
    return 0


def rows_of(parameters: list[Any]) -> Iterator[dict[str, Any]]:
    """A row for each flag that is a setting; what is empty is left out."""
    for option in parameters:
        if NOT_SETTINGS.fullmatch(option.name):
            continue
        kind, extra = _kind(option)
        row = {
            "name": _name(option),
            "flags": option.opts,
            "kind": kind,
            **extra,
            "negative": option.secondary_opts[0] if option.secondary_opts else None,
            "default": _default(option.default),
        }
        yield {key: value for key, value in row.items() if value is not None}


def _name(option: Any) -> str:
    """Its flag's, by which users know it; the destination is named otherwise for a few."""
    return str(option.opts[0].lstrip("-").replace("-", "_"))


def _kind(option: Any) -> tuple[str, dict[str, Any]]:
    if option.is_flag:
        return ("bool" if option.secondary_opts else "switch"), {}
    kind = type(option.type).__name__
    if kind == "Choice":
        # By name where it is an enumeration: the command line takes that, not the value.
        return "choice", {"choices": [option.type.normalize_choice(choice, None) for choice in option.type.choices]}
    item = {"IntParamType": "int", "FloatParamType": "float", "JSONType": "json"}.get(kind, "str")
    return ("list", {"item": item, "repeat": True}) if option.multiple else (item, {})


def _default(value: Any) -> str | None:
    value = value.name.lower() if isinstance(value, enum.Enum) else value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float, str)) and value != "" else None


if __name__ == "__main__":
    sys.exit(main())
