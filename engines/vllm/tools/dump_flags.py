"""Print every flag of `vllm serve` as JSON, asked of the installed vLLM's own parser, and its environment variables.

The output is what `engineroom.settings.FlagTable` reads: a row for each destination, one a line, so that versions
can be compared with `diff`. Ranges, the words of registries and the keys of JSON objects come from the configuration
classes behind the parser, see `config_classes.py`. Without a device vLLM may refuse to build its parser, unless that
is said to be a CPU.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from config_classes import ConfigClasses, without_mark

PARSER_HOMES = ("common", "launchers")
"""The package of `vllm.entrypoints` with `cli_args.make_arg_parser`, from vLLM 0.33 on and before."""

SIZES = {"human_readable_int", "human_readable_int_or_auto"}
HELP_LENGTH = 300


def main() -> int:
    # vLLM writes log lines to stdout while it is imported, and leaves the help out unless `--help` is asked for.
    out, sys.stdout = sys.stdout, sys.stderr
    sys.argv = ["vllm", "--help"]
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")
    import vllm
    import vllm.envs

    classes = ConfigClasses()
    rows = sorted(rows_of(_parser(), classes), key=lambda row: str(row["name"]))
    version = re.sub(r"\+.*", "", vllm.__version__)
    print(f'{{"engine": "vllm", "version": "{version}", "flags": [', file=out)
    print(",\n".join(json.dumps(row, ensure_ascii=False) for row in rows), file=out)
    print("],", file=out)
    print(
        '"environ": [' + ",\n".join(json.dumps(name) for name in sorted(vllm.envs.environment_variables)) + "]}",
        file=out,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    import vllm
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    home = next(
        path for path in PARSER_HOMES if (Path(vllm.__path__[0]) / "entrypoints" / path / "cli_args.py").is_file()
    )
    module = importlib.import_module(f"vllm.entrypoints.{home}.cli_args")
    parser: argparse.ArgumentParser = module.make_arg_parser(FlexibleArgumentParser())
    return parser


def rows_of(parser: argparse.ArgumentParser, classes: ConfigClasses) -> Iterator[dict[str, Any]]:
    """A row for each destination that has a flag; `null`, false and empty entries are left out."""
    groups = {id(action): group.title for group in parser._action_groups for action in group._group_actions}
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        if not flags or action.dest in ("help", "version"):
            continue
        kind, extra = _kind(action)
        negative = [flag for flag in flags if kind == "bool" and not _sets(parser, action, flag)]
        row = {
            "name": action.dest,
            "flags": [flag for flag in flags if flag not in negative],
            "kind": kind,
            **extra,
            **classes.facts(action.help or "", groups.get(id(action)), action.dest, kind),
            "negative": negative[0] if negative else None,
            "default": _default(action.default),
            "group": groups.get(id(action)),
            "help": _help(action),
        }
        yield {key: value for key, value in row.items() if value is not None and value is not False and value != []}


def _sets(parser: argparse.ArgumentParser, action: argparse.Action, flag: str) -> bool:
    """Whether this flag of a pair means true; vLLM has `--no-x`, and since 0.33 `--disable-x` for `--enable-x`."""
    namespace = argparse.Namespace()
    action(parser, namespace, [], flag)
    return bool(getattr(namespace, action.dest))


def _kind(action: argparse.Action) -> tuple[str, dict[str, Any]]:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool", {}
    if isinstance(action, argparse._StoreTrueAction):
        return "switch", {}
    item, extra = _item(action)
    if isinstance(action, argparse._AppendAction):
        return "list", {"item": item, "repeat": True, **extra}
    if action.nargs in ("+", "*"):
        return "list", {"item": "str" if item == "choice" else item, **extra}
    return item, extra


def _item(action: argparse.Action) -> tuple[str, dict[str, Any]]:
    """The kind of one value: choices, or what its converting function is for."""
    if action.choices is not None:
        return "choice", {"choices": [str(choice) for choice in action.choices if choice is not None]}
    name = getattr(_unwrapped(action.type), "__name__", "str")
    if name in SIZES:
        return "suffixed_int", {}
    if name in ("loads", "parse_dataclass"):
        return "json", {}
    return (name, {}) if name in ("int", "float") else ("str", {})


def _unwrapped(convert: Any) -> Any:
    """The function inside vLLM's `optional_type` and `parse_type` closures."""
    while inspect.isfunction(convert) and convert.__name__ in ("_optional_type", "_parse_type"):
        inner: list[Callable[..., Any]] = [
            cell.cell_contents for cell in convert.__closure__ or () if callable(cell.cell_contents)
        ]
        if not inner:
            break
        convert = inner[0]
    return convert


def _default(value: Any) -> str | None:
    if value is None or value == argparse.SUPPRESS:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    try:
        return json.dumps(sorted(value) if isinstance(value, set) else value)
    except TypeError:
        return None


def _help(action: argparse.Action) -> str:
    """The first paragraph of its help, on one line."""
    text = " ".join(without_mark(action.help or "").split("\n\n")[0].replace("%%", "%").split())
    text = text if text != argparse.SUPPRESS else ""
    return text if len(text) <= HELP_LENGTH else text[: HELP_LENGTH - 2].rsplit(" ", 1)[0] + " …"


if __name__ == "__main__":
    sys.exit(main())
