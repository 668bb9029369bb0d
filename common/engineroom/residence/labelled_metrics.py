"""The metrics of several engines as one text of Prometheus', each told apart by its model."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..engine import label_value

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(\{(.*)\})?( .+)")
_ABOUT = re.compile(r"# (HELP|TYPE) (\S+)")
_PARTS = ("_bucket", "_count", "_sum", "_total", "_created")


def labelled(texts: Mapping[str, str]) -> str:
    """The texts as one, each sample with the label `model`; a family's samples stand together, as Prometheus wants.

    Args:
        texts: model -> its engine's metrics. A sample that has a label `model` already keeps it.
    """
    about: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    remarks: list[str] = []
    for model, text in texts.items():
        for line in text.splitlines():
            described = _ABOUT.match(line)
            if described is not None:
                about.setdefault(described[2], {}).setdefault(described[1], line)
                continue
            match = _SAMPLE.fullmatch(line)
            if match is not None:
                samples.setdefault(_family(match[1], about), []).append(_with_model(match, model))
            elif line.startswith("#"):
                remarks.append(f"# {model}: {line.removeprefix('#').strip()}")
    lines = list(remarks)
    for family, of_family in samples.items():
        lines += [*about.get(family, {}).values(), *of_family]
    return "\n".join([*lines, ""]) if lines else ""


def _family(name: str, about: Mapping[str, object]) -> str:
    """The metric that a sample is of: a histogram's have names of their own."""
    if name in about:
        return name
    bases = (name.removesuffix(part) for part in _PARTS if name.endswith(part))
    return next((base for base in bases if base in about), name)


def _with_model(match: re.Match[str], model: str) -> str:
    name, _, labels, rest = match.groups()
    if labels and re.search(r'(^|,)\s*model="', labels):
        return match[0]
    ours = f'model="{label_value(model)}"'
    return f"{name}{{{ours},{labels}}}{rest}" if labels else f"{name}{{{ours}}}{rest}"
