"""What vLLM's configuration classes and registries demand of a flag's value, which its parser lets through.

vLLM parses its command line, imports for a quarter of a minute, and only then makes its configuration classes, which
are pydantic's: they know ranges, enumerations, and the keys that a JSON object may have.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

LIMITS = ("ge", "gt", "le", "lt")
_MARK = re.compile("^\0(\\w+)[.](\\w+)\0")


class ConfigClasses:
    """vLLM's configuration classes by name, and which field of which class each flag becomes."""

    def __init__(self) -> None:
        import vllm.config
        from vllm.engine import arg_utils

        self._classes = {
            name: each
            for module in (vllm.config, arg_utils)
            for name, each in vars(module).items()
            if isinstance(each, type) and hasattr(each, "__pydantic_fields__")
        }
        # A flag may be called otherwise than its field, or stand in another class's group. vLLM makes each from what
        # this function says of a class's fields, so the help text can carry where it comes from.
        arguments_of = arg_utils.get_kwargs

        def marked(cls: type) -> dict[str, dict[str, Any]]:
            arguments: dict[str, dict[str, Any]] = arguments_of(cls)
            for name, each in arguments.items():
                each["help"] = f"\0{cls.__name__}.{name}\0{each.get('help') or ''}"
            return arguments

        arg_utils.get_kwargs = marked

    def facts(self, help_text: str, group: str | None, destination: str, kind: str) -> dict[str, Any]:
        """More of a flag's row: its limits, choices, `shape` and `keys`.

        Args:
            help_text: with the mark in front, where the flag is made from a class.
            group: the title of its group in the parser, mostly a class's name.
            kind: what its parser says of its value.
        """
        mark = _MARK.match(help_text)
        name, field = mark.groups() if mark else (group or "", destination)
        info = getattr(self._classes.get(name), "__pydantic_fields__", {}).get(field)
        facts = _REGISTRIES[destination]() if destination in _REGISTRIES else {}
        if info is None:
            return facts
        types = list(_types(info.annotation))
        if kind in ("int", "float", "suffixed_int"):
            facts |= _limits([*info.metadata, *types])
        elif kind == "json":
            facts |= _object(types)
        elif kind == "str" and not facts and str not in types:
            # The parser lets a text through where nothing but an object will do.
            wanted = _object(types)
            facts |= {"kind": "json", **wanted} if wanted else _words(self._classes[name], field, types)
        return facts


def without_mark(help_text: str) -> str:
    """A help text as vLLM has it."""
    return _MARK.sub("", help_text)


def _types(annotation: Any) -> Iterator[Any]:
    """A type, or the members of a union, what `Annotated` adds to them, and the words of a `Literal`."""
    if get_origin(annotation) in (Union, UnionType, Annotated, Literal):
        for argument in get_args(annotation):
            yield from _types(argument)
    else:
        yield from getattr(annotation, "metadata", [annotation])


def _limits(constraints: list[Any]) -> dict[str, float]:
    limits = {}
    for constraint in constraints:
        for name in LIMITS:
            limit = getattr(constraint, name, None)
            if isinstance(limit, (int, float)):
                limits[name] = limit
    return limits


def _object(types: list[Any]) -> dict[str, Any]:
    """The shape of a JSON value, and its keys where the class that it becomes refuses all others."""
    for each in types:
        if dataclasses.is_dataclass(each) and isinstance(each, type):
            closed = getattr(each, "__pydantic_config__", {}).get("extra") == "forbid"
            keys = sorted(field.name for field in dataclasses.fields(each) if field.init) if closed else []
            return {"shape": "object", "keys": keys}
    if any(each is dict or getattr(each, "__origin__", None) is dict for each in types):
        return {"shape": "object"}
    is_list = any(each in (list, tuple) or getattr(each, "__origin__", None) in (list, tuple) for each in types)
    return {"shape": "list"} if is_list else {}


def _words(cls: Any, field: str, types: list[Any]) -> dict[str, Any]:
    """The members of an enumeration that the class takes by name, with `auto` where it takes that, or a Literal's."""
    enumerations = [each for each in types if isinstance(each, type) and issubclass(each, enum.Enum)]
    if enumerations and not issubclass(enumerations[0], int):
        names = [name for name in ("auto", *enumerations[0].__members__) if _accepts(cls, field, name)]
        return {"kind": "choice", "choices": names} if names else {}
    words = [each for each in types if isinstance(each, str)]
    return {"kind": "choice", "choices": sorted(words)} if words else {}


def _accepts(cls: Any, field: str, value: str) -> bool:
    try:
        cls(**{field: value})
    except Exception:  # Whatever a validator raises: a KeyError for a word that is no member.
        return False
    return True


def _tool_parsers() -> dict[str, Any]:
    from vllm.tool_parsers import ToolParserManager

    return {"kind": "choice", "choices": sorted(ToolParserManager.list_registered()), "plugin": "tool_parser_plugin"}


def _reasoning_parsers() -> dict[str, Any]:
    from vllm.reasoning import ReasoningParserManager

    names = sorted(ReasoningParserManager.list_registered())
    return {"kind": "choice", "choices": names, "plugin": "reasoning_parser_plugin"}


def _quantizations() -> dict[str, Any]:
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

    return {"kind": "choice", "choices": sorted(QUANTIZATION_METHODS)}


def _load_formats() -> dict[str, Any]:
    from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER

    return {"kind": "choice", "choices": sorted(_LOAD_FORMAT_TO_MODEL_LOADER)}


_REGISTRIES = {
    "load_format": _load_formats,
    "quantization": _quantizations,
    "reasoning_parser": _reasoning_parsers,
    "tool_call_parser": _tool_parsers,
}
"""Flags whose words are looked up in a registry once vLLM has parsed them, and to which plugins may add."""
