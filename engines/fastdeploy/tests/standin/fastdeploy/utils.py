"""A parser like FastDeploy's own, for the tools that read it: one flag of each kind."""

from __future__ import annotations

import argparse
import json
from typing import Any


class FlexibleArgumentParser(argparse.ArgumentParser):
    """By FastDeploy's name for it."""


class DeprecatedOptionWarning(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, True)


def nullable_str(value: str) -> str | None:
    return value or None


def add_flags(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--port", default=8000, type=int)
    parser.add_argument("--api-key", type=str, action="append")
    parser.add_argument("--served-model-name", type=nullable_str)
    parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--limit-mm-per-prompt", type=json.loads)
    parser.add_argument("--logprobs-mode", choices=["raw_logprobs", "raw_logits"], default="raw_logprobs")
    parser.add_argument("--logits-processors", type=str, nargs="+")
    parser.add_argument("--enable-logprob", action="store_true")
    parser.add_argument("--enable-mm", action=DeprecatedOptionWarning, default=False)
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--guided-decoding-disable-any-whitespace", type=str, default=False)
    parser.add_argument("--cache-queue-port", type=lambda text: text.split(","), default=None)
    return parser
