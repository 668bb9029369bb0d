"""Print every flag of FastDeploy's server as JSON, asked of its own parser. Runs in FastDeploy's Python.

    python dump_flags.py [CHECKOUT]

With a source checkout its parser is asked instead of the installed one's. The server's own module is of no use: it
parses the command line, and downloads a model, when it is imported; `make_arg_parser` is the parser alone.

The output is what `engineroom.settings.FlagTable` reads: a row for each destination, one a line, so that versions
can be compared with `diff`. Help texts are left out: they are upstream's sentences.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("fastdeploy-gpu", "fastdeploy-xpu", "fastdeploy")


def main() -> int:
    # FastDeploy writes log lines to stdout while it is imported.
    out, sys.stdout = sys.stdout, sys.stderr
    checkout = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    sys.argv = ["api_server"]
    if checkout is not None:
        sys.path.insert(0, str(checkout))
    from fastdeploy.entrypoints.openai.utils import make_arg_parser
    from fastdeploy.utils import FlexibleArgumentParser

    rows = sorted(rows_of(make_arg_parser(FlexibleArgumentParser())), key=lambda row: str(row["name"]))
    print(f'{{"engine": "fastdeploy", "version": "{_version(checkout)}", "flags": [', file=out)
    print(",\n".join(json.dumps(row) for row in rows), file=out)
    print("]}", file=out)
    return 0


def _version(checkout: Path | None) -> str:
    """Major and minor: of the checkout's release branch or version file, else of the package."""
    texts = []
    if checkout is not None:
        for name in (".git/HEAD", "fastdeploy/version.txt"):
            path = checkout / name
            texts += [path.read_text()] if path.is_file() else []
    else:
        for package in PACKAGES:
            try:
                texts.append(metadata.version(package))
            except metadata.PackageNotFoundError:
                continue
    versions = [match[0] for text in texts if (match := re.search(r"\d+\.\d+", text))]
    return versions[0] if versions else "unknown"


def rows_of(parser: argparse.ArgumentParser) -> Iterator[dict[str, Any]]:
    """A row for each destination but help."""
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        if action.dest == "help" or not flags:
            continue
        kind, extra = _kind(action)
        negative = [flag for flag in flags if kind == "bool" and flag.startswith("--no-")]
        row = {
            "name": action.dest,
            "flags": [flag for flag in flags if flag not in negative],
            "kind": kind,
            **extra,
            "negative": negative[0] if negative else None,
            "default": _default(action.default),
        }
        yield {key: value for key, value in row.items() if value is not None}


def _kind(action: argparse.Action) -> tuple[str, dict[str, Any]]:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool", {}
    # One flag takes a text where a switch is meant; any text switches it on.
    if action.nargs == 0 or (isinstance(action.default, bool) and action.type is str):
        return "switch", {}
    if isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*"):
        return "list", {"item": "str"}
    if action.choices is not None:
        return "choice", {"choices": [str(choice) for choice in action.choices]}
    # Ports and addresses are split by functions of their own: a text, as they come.
    return {"int": "int", "float": "float", "loads": "json"}.get(getattr(action.type, "__name__", ""), "str"), {}


def _default(value: Any) -> str | None:
    if value is None or value == argparse.SUPPRESS:
        return None
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
