"""hub.json, tests.json and worker-config.json, from the image matrix and the settings models."""

from __future__ import annotations

from typing import Any

import all_settings
from all_settings import Listed

from engineroom.hardware import Image, Matrix

POOLS = {
    "ADA_24": "89",
    "ADA_48_PRO": "89",
    "ADA_80_PRO": "90",
    "AMPERE_24": "86",
    "AMPERE_48": "86",
    "AMPERE_80": "80",
    "HOPPER_141": "90",
}
"""RunPod's GPU pools that hold a language model, and their GPUs' compute capability."""

CUDA_VERSIONS = ("11.8", "12.0", "12.1", "12.2", "12.3", "12.4", "12.5", "12.6", "12.7", "12.8", "12.9", "13.0")
"""The versions that RunPod lets an endpoint ask for."""

FIRST = ("MODEL_NAME", "HF_TOKEN", "MAX_MODEL_LEN", "MAX_CONCURRENCY", "OPENAI_SERVED_MODEL_NAME_OVERRIDE")
"""What is shown at once; everything else is behind `advanced`."""

PRESETS = {
    "Qwen3 8B": {"MODEL_NAME": "Qwen/Qwen3-8B", "MAX_MODEL_LEN": 16384},
    "gpt-oss 20B": {"MODEL_NAME": "openai/gpt-oss-20b", "MAX_MODEL_LEN": 16384},
}
ACRONYMS = {"API", "CPU", "CUDA", "GPU", "HF", "JSON", "KV", "LORA", "MB", "MM", "SM", "SSL", "TTL", "URL"}
TEST_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def hub(matrix: Matrix) -> dict[str, Any]:
    """`hub.json`: the matrix's first image, which is the one that RunPod's Hub builds."""
    image = matrix.rows[0]
    carried = ", ".join(dict.fromkeys(f"{row.engine} {row.version}" for row in matrix.rows))
    return {
        "title": "engineroom",
        "description": f"One LLM inference worker for any engine, with OpenAI's API. This image: {image.engine} "
        f"{image.version}; the repository builds {carried}.",
        "type": "serverless",
        "category": "language",
        "config": {
            "runsOn": "GPU",
            "containerDiskInGb": 100,
            "gpuCount": 1,
            "gpuIds": ",".join(pool for pool, sm in POOLS.items() if sm in image.sm),
            "allowedCudaVersions": _cuda(image),
            "presets": [{"name": name, "defaults": values} for name, values in PRESETS.items()],
            "env": [{"key": listed.setting.name, "input": _input(listed)} for listed in _in_order(image)],
        },
    }


def tests(matrix: Matrix) -> dict[str, Any]:
    """`tests.json`: what the Hub runs on a real GPU before it lists a release."""
    messages = [{"role": "user", "content": "What is 2+2?"}]
    chat = {"model": TEST_MODEL, "messages": messages, "max_tokens": 16}
    return {
        "tests": [
            {
                "name": "chat",
                "input": {"openai_route": "/v1/chat/completions", "openai_input": chat},
                "timeout": 600_000,
            },
            {
                "name": "native",
                "input": {"prompt": "Two and two is", "sampling_params": {"max_tokens": 8}},
                "timeout": 60_000,
            },
        ],
        "config": {
            "gpuTypeId": "NVIDIA GeForce RTX 4090",
            "gpuCount": 1,
            "env": [{"key": "MODEL_NAME", "value": TEST_MODEL}],
            "allowedCudaVersions": _cuda(matrix.rows[0]),
        },
    }


def worker_config(matrix: Matrix) -> dict[str, Any]:
    """`worker-config.json`: every image with its settings by group, and each setting once."""
    versions: dict[str, Any] = {}
    schema: dict[str, Any] = {}
    for image in matrix.rows:
        groups: dict[str, list[str]] = {}
        for listed in all_settings.of_image(image):
            groups.setdefault(listed.group, []).append(listed.setting.name)
            field = schema.setdefault(listed.setting.name, _field(listed))
            if field["value"] != _field(listed)["value"]:
                # The form sends what it shows, and the images do not agree on it.
                field["value"] = ""
        versions[image.name] = {
            "imageName": str(matrix.full_name(image, "latest")),
            **({"minimumCudaVersion": image.cuda} if image.cuda else {}),
            "categories": [{"title": title, "settings": names} for title, names in groups.items()],
        }
    return {"versions": versions, "schema": schema}


def _cuda(image: Image) -> list[str]:
    def number(version: str) -> tuple[int, ...]:
        return tuple(map(int, version.split(".")))

    return [version for version in CUDA_VERSIONS if image.cuda and number(version) >= number(image.cuda)]


def _in_order(image: Image) -> list[Listed]:
    rank = {name: position for position, name in enumerate(FIRST)}
    return sorted(all_settings.of_image(image), key=lambda listed: rank.get(listed.setting.name, len(rank)))


def _input(listed: Listed) -> dict[str, Any]:
    setting = listed.setting
    kinds = {"number": "number", "boolean": "boolean"}
    entry: dict[str, Any] = {
        "name": _title(setting.name),
        "type": "huggingface" if setting.name == "MODEL_NAME" else kinds.get(setting.kind, "string"),
        "description": _description(listed),
    }
    if setting.choices:
        entry |= {"type": "string", "options": [{"label": choice, "value": choice} for choice in setting.choices]}
    elif setting.kind == "boolean":
        entry |= {"trueValue": "true", "falseValue": "false"}
    if (value := all_settings.default(listed)) is not None:
        entry["default"] = value
    if setting.name not in FIRST:
        entry["advanced"] = True
    return entry


def _field(listed: Listed) -> dict[str, Any]:
    setting = listed.setting
    kinds = {"number": "number", "boolean": "toggle"}
    value = all_settings.default(listed)
    return {
        "env_var_name": setting.name,
        "value": "" if value is None else value,
        "title": _title(setting.name),
        "description": _description(listed),
        "required": setting.name == "MODEL_NAME",
        "type": "select" if setting.choices else kinds.get(setting.kind, "text"),
        **({"options": [{"value": choice, "label": choice} for choice in setting.choices]} if setting.choices else {}),
    }


def _title(name: str) -> str:
    words = [word if word in ACRONYMS else word.lower() for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _description(listed: Listed) -> str:
    text = " ".join(listed.setting.help.split())
    if listed.own and listed.setting.default:
        text = f"{text} (default: {listed.setting.default})"
    return text.strip()
