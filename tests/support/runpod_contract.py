"""RunPod's own OpenAPI file of its management API, where it is present: does a request or an answer agree with it?

The file is RunPod's and not in this repository. Get `api-reference-v2/openapi.json` of RunPod's documentation and name
it in RUNPOD_OPENAPI, or put it at `.build/runpod-openapi.json`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs
import pytest
from source_tree import ROOT

VARIABLE = "RUNPOD_OPENAPI"
USUAL_PLACE = ROOT / ".build" / "runpod-openapi.json"
ABSENT = f"RunPod's OpenAPI file is not here ({VARIABLE}, or .build/runpod-openapi.json)"


class RunPodContract:
    """The file, and what it says about requests and answers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}
        self._paths = [(self._pattern(path), path) for path in document["paths"]]
        # `/registries/delegations` is no registry of that name: paths without parameters come first.
        self._paths.sort(key=lambda pair: pair[1].count("{"))

    def request_problems(self, method: str, url: str, body: object = None) -> list[str]:
        """What is wrong with a request: no such operation, an unknown parameter, or a body that does not match."""
        operation = self._operation(method, url)
        if operation is None:
            return [f"{method} {urlsplit(url).path} is no operation"]
        problems = self._query_problems(operation, url)
        declared = operation.get("requestBody")
        if declared is None:
            return problems + ([] if body is None else ["it takes no body"])
        if body is None:
            return [*problems, "it needs a body"] if declared.get("required") else problems
        return problems + self._mismatches(declared["content"]["application/json"]["schema"], body)

    def answer_problems(self, method: str, url: str, status: int, content_type: str, content: bytes) -> list[str]:
        """What is wrong with an answer: a status that is not declared, another type of content, or its JSON."""
        operation = self._operation(method, url)
        if operation is None:
            return []
        declared = operation["responses"].get(str(status)) or operation["responses"].get("default")
        if declared is None:
            return [f"the status {status} is not declared"]
        contents = self._resolved(declared).get("content", {})
        if not contents:
            return ["the body is not empty"] if content else []
        media_type = content_type.partition(";")[0]
        if media_type not in contents:
            return [f"the content is {media_type!r}, not {', '.join(contents)}"]
        if media_type == "text/event-stream":
            return []
        return self._mismatches(contents[media_type]["schema"], json.loads(content))

    def problems_with(self, schema: str, value: object) -> list[str]:
        """What is wrong with a value of one of the file's own schemas."""
        return self._mismatches({"$ref": f"#/components/schemas/{schema}"}, value)

    def _operation(self, method: str, url: str) -> dict[str, Any] | None:
        path = urlsplit(url).path
        for pattern, declared in self._paths:
            if pattern.fullmatch(path):
                operation: dict[str, Any] | None = self.document["paths"][declared].get(method.lower())
                return operation
        return None

    def _query_problems(self, operation: Mapping[str, Any], url: str) -> list[str]:
        declared = [self._resolved(parameter) for parameter in operation.get("parameters", ())]
        known = {parameter["name"] for parameter in declared if parameter["in"] == "query"}
        return [f"the parameter {name} is unknown" for name in parse_qs(urlsplit(url).query) if name not in known]

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            resolved: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                resolved = resolved[part]
            node = resolved
        return node

    def _mismatches(self, schema: Mapping[str, Any], value: object) -> list[str]:
        errors = self._validator(schema).iter_errors(value)
        return [f"{'.'.join(map(str, error.instance_path)) or 'the whole'}: {error.message}" for error in errors]

    def _validator(self, schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            root = {**schema, "components": self.document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                root, validate_formats=True, formats={"uri": _is_uri}
            )
        return self._validators[key]

    @staticmethod
    def _pattern(path: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


def _is_uri(text: str) -> bool:
    """Whether a text is a URI; `…/status/{job_id}` counts as one, since RunPod's own examples have it."""
    parts = urlsplit(text)
    return bool(parts.scheme and parts.netloc and not re.search(r"[\s<>\"]", text))


@cache
def present_contract() -> RunPodContract | None:
    """RunPod's file; None where it is not present."""
    path = Path(os.environ.get(VARIABLE) or USUAL_PLACE)
    if not path.is_file():
        return None
    return RunPodContract(json.loads(path.read_text(encoding="utf-8")))


def needed_contract() -> RunPodContract:
    """RunPod's file; skips the test where it is not present."""
    contract = present_contract()
    if contract is None:
        pytest.skip(ABSENT)
    return contract


def check_exchange(
    method: str, url: str, body: object, status: int, content_type: str, content: bytes, refused: bool = False
) -> None:
    """Fail where a request or its answer does not agree with RunPod's file; do nothing where that is not present.

    Args:
        url: with the query; only path and query matter.
        body: the request's, decoded; None without one.
        refused: whether the request is wrong on purpose, so that only the answer is looked at.
    """
    contract = present_contract()
    if contract is None:
        return
    problems = [] if refused else contract.request_problems(method, url, body)
    problems += contract.answer_problems(method, url, status, content_type, content)
    assert not problems, f"{method} {url} -> {status}: {problems}\nsent: {body}\nreceived: {content[:2000]!r}"
