"""A `llm_config.json` of runpod-llm-manager, in the words of our deployment file.

Its shape: `mode` (pod, serverless or auto), `model` {name, path}, `compute` {gpu_type_id, gpu_count}, and a section
named after the mode {template_id, container_disk_gb, name, …}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engineroom.errors import Problem, SettingsError

_KINDS = {"pod": "pod", "serverless": "queue", "auto": "auto"}
_PLAIN = {
    "name": "name",
    "template_id": "template",
    "container_disk_gb": "disk",
    "image": "image",
    "image_name": "image",
    "custom_image": "image",
    "env": "env",
    "cloud_type": "cloud",
    "gpu_type_id": "gpu",
    "gpu_count": "gpu_count",
}
_WORKERS = {
    "min_workers": "min",
    "workers_min": "min",
    "max_workers": "max",
    "workers_max": "max",
    "idle_timeout": "idle_timeout",
}


def is_one(values: Mapping[str, Any]) -> bool:
    """Whether a file has that shape and not ours."""
    return "mode" in values or isinstance(values.get("model"), dict) or "compute" in values


def converted(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The fields of a deployment file that mean the same.

    Raises:
        SettingsError: with every field that has no such meaning.
    """
    problems: list[Problem] = []
    mode = values.get("mode", "serverless")
    if mode not in _KINDS:
        problems.append(Problem("mode", f"is {mode!r}, and must be pod, serverless or auto", source))
    result: dict[str, Any] = {"kind": _KINDS.get(mode, "queue")}
    result.update(_model(_section(values, "model", source, problems), source, problems))
    result.update(_fields(_section(values, "compute", source, problems), "compute", source, problems))
    chosen = ("pod", "serverless") if mode == "auto" else (mode,)
    for section in chosen:
        result.update(_fields(_section(values, section, source, problems), section, source, problems))
    # The section of the other mode may stay in the file for the day on which the mode is changed.
    known = {"mode", "model", "compute", "pod", "serverless"}
    problems += [Problem(name, "has no meaning here", source) for name in values if name not in known]
    if problems:
        raise SettingsError(problems)
    return result


def _section(values: Mapping[str, Any], name: str, source: str, problems: list[Problem]) -> Mapping[str, Any]:
    section = values.get(name) or {}
    if not isinstance(section, dict):
        problems.append(Problem(name, "must be an object", source))
        return {}
    return section


def _model(section: Mapping[str, Any], source: str, problems: list[Problem]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in section.items():
        if name == "name":
            fields["model"] = value
        elif name in ("backend", "engine"):
            fields["engine"] = value
        elif name == "path":
            if value:
                message = "a folder of this machine is not on RunPod; bake the model into an image, or name a hub's"
                problems.append(Problem("model.path", message, source))
        else:
            problems.append(Problem(f"model.{name}", "has no meaning here", source))
    return fields


def _fields(section: Mapping[str, Any], place: str, source: str, problems: list[Problem]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    workers: dict[str, Any] = {}
    for name, value in section.items():
        if name in _WORKERS:
            workers[_WORKERS[name]] = value
        elif name in _PLAIN:
            fields[_PLAIN[name]] = value
        else:
            problems.append(Problem(f"{place}.{name}", "has no meaning here", source))
    return {**fields, **({"workers": workers} if workers else {})}
