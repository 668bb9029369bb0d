"""hub.json, tests.json and worker-config.json, from the image matrix and the settings models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import all_settings
import msgspec
from all_settings import Listed

from engineroom.hardware import Image, Matrix

ENGINES = Path(__file__).resolve().parents[1] / "engines"

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

FIRST = ("MODEL_NAME", "HF_TOKEN", "OPENAI_SERVED_MODEL_NAME_OVERRIDE", "MAX_CONCURRENCY")
"""What is shown at once, with every engine, before what the engine's listing names."""

LAST = ("REQUEST_TIMEOUT", "JOB_ERRORS", "COMPATIBILITY", "LOG_LEVEL")
"""What is shown at once, with every engine, after that. Everything else is behind `advanced`."""

DOOR = "runpod"
"""The door that a Hub's endpoint runs: what only others read is not listed."""

CPU_FLAVOUR = "cpu3c"
TEST_GPU = "NVIDIA GeForce RTX 4090"
TEST_SM = "89"
ACRONYMS = {"API", "CPU", "CTX", "CUDA", "GPU", "HF", "JSON", "KV", "LORA", "MB", "MM", "SM", "SSL", "TTL", "URL"}


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an engine has to say for its listing: `engines/<name>/listing.json`.

    title: what people call the engine.
    open: its settings that are shown at once.
    presets: models that it serves well, as the Hub's form offers them.
    test: the settings under which the Hub tests it; None where it can answer nothing by itself.
    """

    title: str
    open: list[str]
    presets: list[dict[str, Any]]
    test: dict[str, str] | None = None

    @classmethod
    def of(cls, engine: str) -> Listing:
        """The listing of an engine of this repository."""
        return msgspec.json.decode((ENGINES / engine / "listing.json").read_bytes(), type=cls)


def hub(image: Image, matrix: Matrix) -> dict[str, Any]:
    """`hub.json` of an image; the Hub builds the Dockerfile with its defaults, which are those of the first row."""
    carried = ", ".join(dict.fromkeys(f"{row.engine} {row.version}" for row in matrix.rows))
    listing = Listing.of(image.engine)
    shown = {*FIRST, *listing.open, *LAST}
    return {
        "title": f"engineroom: {listing.title}",
        "description": f"One LLM inference worker for any engine, with OpenAI's API. This image: {image.engine} "
        f"{image.version}; the repository builds {carried}.",
        "type": "serverless",
        "category": "language",
        **({"iconUrl": f"{matrix.source}/raw/main/docs/icon.png"} if matrix.source else {}),
        "config": {
            **_machine(image),
            "containerDiskInGb": 100 if image.sm else 10,
            "presets": listing.presets,
            "env": [
                {"key": listed.setting.name, "input": _input(listed, listed.setting.name in shown)}
                for listed in _in_order(image, [*FIRST, *listing.open, *LAST])
            ],
        },
    }


def tests(image: Image) -> dict[str, Any]:
    """`tests.json` of an image: what the Hub runs before it lists a release. An answer of 200 passes, so errors have to
    be failures."""
    listing = Listing.of(image.engine)
    messages = [{"role": "user", "content": "What is 2+2?"}]
    settings = {**(listing.test or {}), "JOB_ERRORS": "failed"}
    chat = {"messages": messages, "max_tokens": 16}
    if "MODEL_NAME" in settings:
        chat = {"model": settings["MODEL_NAME"], **chat}
    if listing.test is None:
        return {"tests": [], "config": _test_machine(image)}
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
            **_test_machine(image),
            "env": [{"key": name, "value": value} for name, value in settings.items()],
        },
    }


_DOORS = ("http", "runpod")
"""Those that images can open."""


def worker_config(matrix: Matrix) -> dict[str, Any]:
    """`worker-config.json`: every image with its settings by group, and each setting once."""
    versions: dict[str, Any] = {}
    schema: dict[str, Any] = {}
    for image in matrix.rows:
        groups: dict[str, list[str]] = {}
        for listed in all_settings.of_image(image, _DOORS):
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


def _machine(image: Image) -> dict[str, Any]:
    """Where an image of a listing runs."""
    if not image.sm:
        return {"runsOn": "CPU", "cpuFlavor": CPU_FLAVOUR}
    pools = ",".join(pool for pool, sm in POOLS.items() if sm in image.sm)
    return {"runsOn": "GPU", "gpuCount": 1, "gpuIds": pools, "allowedCudaVersions": _cuda(image)}


def _test_machine(image: Image) -> dict[str, Any]:
    """Where an image of a listing is tested."""
    if not image.sm:
        return {"cpuFlavor": CPU_FLAVOUR}
    return {"gpuTypeId": TEST_GPU, "gpuCount": 1, "allowedCudaVersions": _cuda(image)}


def _cuda(image: Image) -> list[str]:
    def number(version: str) -> tuple[int, ...]:
        return tuple(map(int, version.split(".")))

    return [version for version in CUDA_VERSIONS if image.cuda and number(version) >= number(image.cuda)]


def _in_order(image: Image, first: Sequence[str]) -> list[Listed]:
    """What a queue endpoint reads of an image's settings, those that are shown at once before the others."""
    rank = {name: position for position, name in enumerate(first)}
    listed = [each for each in all_settings.of_image(image, DOOR) if each.setting.name != "WORKER"]
    return sorted(listed, key=lambda each: rank.get(each.setting.name, len(rank)))


def _input(listed: Listed, shown: bool) -> dict[str, Any]:
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
    if not shown:
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
