"""What of the Helm chart follows from other files: its values and their schema, its version, and what its templates
know of images and settings. `make hub` writes them, and `make manifests` renders deploy/kustomize from the chart.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from chart_values import ChartValues
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import engineroom
from engineroom import plugins
from engineroom.engine import Engine
from engineroom.hardware import Image, Matrix
from engineroom.settings import Environment, Setting, WorkerSettings

CHART = "deploy/helm/engineroom"
BEGIN, END = "<!-- values:begin -->", "<!-- values:end -->"
"""Where docs/kubernetes.md has the table of values."""

NOBODY = 10001
"""The user of every image that does not have to run as root."""

_NODES = ("NNODES", "NODE_RANK")
"""Settings of an engine whose one replica can take several machines."""
_LEADERS = {"MASTER_ADDR": "$(LWS_LEADER_ADDRESS)", "DIST_INIT_ADDR": "$(LWS_LEADER_ADDRESS):5000"}
"""How engines call the first machine's address, and what LeaderWorkerSet knows of it."""
_PARALLEL = ("TENSOR_PARALLEL_SIZE", "PIPELINE_PARALLEL_SIZE")

SET_BY_CHART = {
    "MODEL_NAME": "model",
    "MODEL_REVISION": "revision",
    "REVISION": "revision",
    "HUGGINGFACE_MODEL_REVISION": "revision",
    "LAME_DUCK": "lameDuck",
    "DRAIN_TIMEOUT": "drainTimeout",
    "API_KEYS_FILE": "keysFile",
    "UVICORN_SSL_CERTFILE": "tls.secretName",
    "UVICORN_SSL_KEYFILE": "tls.secretName",
    "BASE_PATH": "cache",
    "PORT": "service.port",
    "PORT_HEALTH": "service.port",
    "HOST": "networkPolicy.clients",
    "WORKER": "the chart: `http` is all that runs here",
    "ENGINE": "image",
    "ENGINEROOM_IMAGE": "image",
    "NNODES": "nodes",
    "NODE_RANK": "nodes",
    "MASTER_ADDR": "nodes",
    "DIST_INIT_ADDR": "nodes",
}
"""Settings that the chart sets -> the value that decides on them."""


def files(matrix: Matrix) -> Iterator[tuple[str, str]]:
    """Each generated file's path in the repository and what it must hold."""
    yield f"{CHART}/Chart.yaml", chart_yaml()
    yield f"{CHART}/values.yaml", values_yaml()
    yield f"{CHART}/values.schema.json", _json(schema(matrix))
    yield f"{CHART}/files/images.json", _json([image_facts(row) for row in matrix.rows])
    yield f"{CHART}/files/repository", f"{matrix.repository}\n"
    yield f"{CHART}/files/settings.json", _json(setting_facts(matrix))


def chart_yaml() -> str:
    """Chart.yaml: chart and application have the same version."""
    content = {
        "apiVersion": "v2",
        "name": "engineroom",
        "description": "One LLM inference worker for any engine, with OpenAI's API",
        "type": "application",
        "version": engineroom.__version__,
        "appVersion": engineroom.__version__,
        "kubeVersion": ">=1.29.0-0",
        "annotations": {"artifacthub.io/license": "Apache-2.0"},
    }
    return "# Written by `make hub`.\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=118)


def image_facts(row: Image) -> dict[str, Any]:
    """What the templates have to know of an image.

    compute: for each major compute capability that it runs on, the minor ones, as strings.
    user: whom it runs as in a pod.
    loads: whether the engine loads weights that `engineroom pull` can fetch beforehand.
    keeps: whether it keeps models, or what it compiles, on a volume.
    nodes: the variables that a replica on several machines needs; null where it can have only one.
    """
    engine, env = engine_of(row)
    names = {name for group in engine.settings(env) for each in group.describe() for name in each.names}
    majors = sorted({number[:-1] for number in row.sm}, key=int)
    return {
        "name": row.name,
        "engine": row.engine,
        "cuda": row.cuda,
        "driver": row.driver,
        "compute": {major: [number[-1] for number in row.sm if number[:-1] == major] for major in majors},
        "user": pod_user(row),
        "loads": bool(engine.model_formats),
        "keeps": "BASE_PATH" in names,
        "nodes": _nodes(names),
    }


def engine_of(row: Image) -> tuple[type[Engine], Environment]:
    """An image's engine, and the environment by which it knows its flags: the image says which version it has, not
    whatever is installed here.
    """
    version = {f"{row.engine.upper()}_VERSION": row.version, f"{row.engine.upper()}_PYTHON": "/nonexistent"}
    return plugins.engine_class(Environment.of({"ENGINE": row.engine, **version}))


def pod_user(row: Image) -> int:
    """Whom an image's pod runs as: its own user, the one that an image of root's can be started as, or root."""
    other = re.search(r"\bas (\d+)\b", row.root)
    return int(other[1]) if other else int(row.user)


def _nodes(names: set[str]) -> dict[str, Any] | None:
    leader = next((name for name in _LEADERS if name in names), None)
    if leader is None or not names.issuperset(_NODES):
        return None
    return {"leader": leader, "address": _LEADERS[leader], "parallel": names.issuperset(_PARALLEL)}


def setting_facts(matrix: Matrix) -> dict[str, Any]:
    """What the templates have to know of settings."""
    return {"secret": sorted(name for name, each in _settings(matrix).items() if each.secret), "chart": SET_BY_CHART}


def schema(matrix: Matrix) -> dict[str, Any]:
    """values.schema.json: the models' own, with the images, engines and settings that there are."""
    result = ChartValues.model_json_schema(by_alias=True)
    properties = result["properties"]
    properties["engine"]["enum"] = ["", *matrix.engines]
    properties["row"]["enum"] = ["", *(row.name for row in matrix.rows)]
    known = _settings(matrix)
    own = _of_the_door()
    properties["settings"] |= {
        "properties": {name: _setting_schema(each, own=name in own) for name, each in sorted(known.items())},
        "additionalProperties": False,
    }
    secret = sorted(name for name, each in known.items() if each.secret)
    properties["secrets"]["propertyNames"] = {"enum": secret}
    # What Helm itself hands to a chart that is part of another.
    properties["global"] = {"type": "object"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_plain(result)}


def _settings(matrix: Matrix) -> dict[str, Setting]:
    """Every setting of the HTTP door and of the engines in the matrix, by each of its names."""
    return {**_of_engines(matrix), **_of_the_door()}


def _of_the_door() -> dict[str, Setting]:
    groups = [WorkerSettings, *plugins.door_settings("http")]
    return {name: each for group in groups for each in group.describe() for name in each.names}


def _of_engines(matrix: Matrix) -> dict[str, Setting]:
    """The engines' own. Where several have one of the same name, it takes what any of them takes."""
    settings: dict[str, Setting] = {}
    for row in matrix.rows:
        engine, env = engine_of(row)
        for group in engine.settings(env):
            for each in group.describe():
                for name in each.names:
                    settings[name] = _either(name, settings.get(name, each), each)
    return settings


def _either(name: str, one: Setting, other: Setting) -> Setting:
    """A setting that takes what two take that have the same name."""
    secret = one.secret or other.secret
    if one.kind != other.kind:
        return Setting(name, kind="any", secret=secret)
    choices = tuple(dict.fromkeys((*one.choices, *other.choices))) if one.choices and other.choices else ()
    return Setting(
        name, one.kind, choices=choices, limits=one.limits if one.limits == other.limits else "", secret=secret
    )


_WORDS_FOR_LIMITS = (
    ("at least", "minimum"),
    ("more than", "exclusiveMinimum"),
    ("at most", "maximum"),
    ("less than", "exclusiveMaximum"),
)
_KINDS: Mapping[str, dict[str, Any]] = {
    "string": {"type": ["string", "array"]},
    "boolean": {"type": "boolean"},
    "json": {"type": ["object", "array", "string"]},
    "any": {"type": ["string", "number", "boolean", "array", "object"]},
}


def _setting_schema(setting: Setting, *, own: bool) -> dict[str, Any]:
    """What a setting's value may be in YAML.

    Args:
        own: whether it is ours. Engines take numbers with a suffix, too, `16k`, and describe themselves elsewhere.
    """
    if setting.secret:
        return {}  # The templates refuse it, and say where it belongs.
    result: dict[str, Any] = {"description": " ".join(setting.help.split())} if own and setting.help else {}
    if setting.choices:
        return {**result, "enum": list(setting.choices)}
    if setting.kind == "string" and not own:
        return {"type": ["string", "number", "array"]}
    if setting.kind != "number":
        return {**result, **_KINDS[setting.kind]}
    result["type"] = "number" if own else ["number", "string"]
    for words, keyword in _WORDS_FOR_LIMITS:
        limit = re.search(rf"\b{words} (-?[\d.]+)", setting.limits)
        if limit:
            result[keyword] = float(limit[1]) if "." in limit[1] else int(limit[1])
    return result


def _plain(node: Any) -> Any:
    """A schema without the titles that pydantic makes of names, and without null, which Helm takes for not set."""
    if isinstance(node, dict):
        choices = [each for each in node.get("anyOf", ()) if each != {"type": "null"}]
        if len(choices) == 1:
            others = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
            return _plain({**choices[0], **others})
        return {key: _plain(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}
    return [_plain(each) for each in node] if isinstance(node, list) else node


def values_yaml() -> str:
    """values.yaml: every value with its default, and what it is for in a comment."""
    head = "# Written by `make hub` from tools/chart_values.py. docs/kubernetes.md goes through it.\n"
    return head + "\n".join(_lines(ChartValues(), "")) + "\n"


def _lines(model: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        key = field.alias or name
        value = getattr(model, name)
        if not indent:
            yield ""
        yield from textwrap.wrap(field.description or "", 116 - len(indent), initial_indent=f"{indent}# ",
                                 subsequent_indent=f"{indent}# ")  # fmt: skip
        if isinstance(value, BaseModel):
            yield f"{indent}{key}:"
            yield from _lines(value, f"{indent}  ")
        elif value is None:
            yield f"{indent}# {key}: {_example(field)}"
        else:
            text = yaml.safe_dump({key: value}, sort_keys=False, width=200).rstrip()
            yield textwrap.indent(text, indent)


def _example(field: FieldInfo) -> str:
    annotation = str(field.annotation)
    if "SecretKey" in annotation:
        return "{name: my-secret, key: my-key}"
    return "false" if "bool" in annotation else "1"


def table() -> str:
    """The values as a table in Markdown."""
    rows = "\n".join(_rows(ChartValues(), ""))
    return f"| value | default | |\n|---|---|---|\n{rows}"


def _rows(model: BaseModel, prefix: str) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        key = f"{prefix}{field.alias or name}"
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{key}.")
            continue
        default = "" if value in (None, "") else f"`{json.dumps(value).strip(chr(34))}`"
        yield f"| `{key}` | {default} | {field.description} |"


def fill(text: str) -> str:
    """`text` with the table between its markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}" if begin and end else text


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
