"""llama.cpp's flags as settings: the snapshot of its parser, other names for them, and the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from engineroom.errors import Problems
from engineroom.settings import Environment, FlagRule, FlagTable, FlagValues, broken_rules, parse_json, read_text

from .child import SUPPORTED

PARALLEL = 16
"""Slots, and so requests at the same time. llama.cpp's own default of 4 leaves a server mostly waiting."""

WARNINGS = 2
"""How much llama.cpp logs: warnings and errors. Its default, 3, is several lines for each request."""

_FILES = ("lora", "mmproj", "spec_draft_model")
_TEXTS = ("chat_template_file", "grammar_file", "json_schema_file")


class Snapshot(FlagTable, frozen=True, dict=True, kw_only=True):
    """aliases: llama.cpp's other names, `LLAMA_ARG_*` among them -> the flag's variable."""

    aliases: dict[str, str]


_OBJECTS = ("chat_template_kwargs", "json_schema")
"""Texts that llama.cpp reads as JSON objects."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_FORMS = {
    "lora_scaled": (rf"[^,]+:{_NUMBER}(?:,[^,]+:{_NUMBER})*", "adapters as FILE:SCALE, separated by commas"),
    "n_gpu_layers": (r"-?\d+|auto|all", "a number, `auto` or `all`"),
    "tensor_split": (rf"{_NUMBER}(?:[,/]\s*{_NUMBER})*", "numbers separated by commas, one for each GPU"),
}
"""Texts that llama.cpp reads numbers from: how they are written, and in words. It refuses others when it starts."""

_UNQUANTISED = ("f32", "f16", "bf16")

_RULES = (
    FlagRule("batch_size", (), lambda v: v.batch_size < 1, "must be at least 1"),
    FlagRule("parallel", (), lambda v: v.parallel == 0, "must be at least 1; -1 leaves it to llama.cpp"),
    FlagRule(
        "ctx_size",
        (),
        lambda v: v.ctx_size < 0,
        "must be at least 0, which takes the context that the model was made for",
    ),
    FlagRule(
        "cache_type_v",
        ("flash_attn",),
        lambda v: v.cache_type_v not in _UNQUANTISED and v.flash_attn == "off",
        "needs Flash Attention for a quantised cache; remove FLASH_ATTN=off",
    ),
)
"""What llama.cpp refuses with no more than that the parameters are wrong, aborts at, or never answers with; each was
tried on it."""


@cache
def snapshot() -> Snapshot:
    defaults = {"parallel": str(PARALLEL), "kv_unified": "true", "log_verbosity": str(WARNINGS)}
    return Snapshot.load(Path(__file__).with_name("flags.json")).with_defaults(defaults)


def read(env: Environment, problems: Problems, *, library: bool) -> dict[str, Any]:
    """The flags that are set, and our defaults.

    Args:
        problems: every value that llama.cpp would refuse, and every file that is missing, is added here.
        library: whether they are for xllamacpp, which has parameters for most of them only.
    """
    values = snapshot().read_valid(env, problems)
    for name in values.keys() & set(_TEXTS):
        problems.collect(partial(read_text, Path(str(values[name])), name.upper()), "")
    for name in values.keys() & set(_FILES):
        for path in str(values[name]).split(",") if name == "lora" else [str(values[name])]:
            if not Path(path).is_file():
                problems.add(name.upper(), f"there is no file {path}", env.source(name.upper()))
    for name in values.keys() & set(_OBJECTS):
        try:
            parse_json(str(values[name]), "object")
        except ValueError as error:
            problems.add(name.upper(), str(error), env.source(name.upper()))
    for name in values.keys() & _FORMS.keys():
        form, words = _FORMS[name]
        if not re.fullmatch(form, str(values[name]).strip()):
            problems.add(name.upper(), f"expected {words}; got {str(values[name])!r}", env.source(name.upper()))
    if library:
        for name in sorted(values.keys() - SUPPORTED):
            message = "the xllamacpp library has no such parameter; set LLAMA_SERVER to a llama-server binary"
            problems.add(name.upper(), message)
    in_force = {"parallel": PARALLEL, "kv_unified": True, "log_verbosity": WARNINGS, **values}
    problems.extend(broken_rules(_RULES, FlagValues(in_force, {"flash_attn": "auto"}), env))
    return in_force


def argv(values: Mapping[str, Any]) -> list[str]:
    """The command line; llama.cpp's parser takes a flag and its value as two arguments."""
    arguments = []
    for flag in snapshot().flags:
        if (value := values.get(flag.name)) is None:
            continue
        if flag.kind in ("bool", "switch"):
            arguments += flag.arguments(value)
        else:
            arguments += [flag.flags[0], str(value)]
    return arguments
