#!/usr/bin/env python3
"""Check Kubernetes objects without a cluster: `validate_manifests.py [--crds FOLDER] FILE…`, or `-` for standard input.

Run by .venv-kubernetes' Python (`make env-kubernetes`). Objects of Kubernetes itself are held against the schemas of
the oldest version that the chart is for and of the newest, strictly: an unknown field is an error. KEDA's and
Prometheus' objects are read by models that are made from their definitions, and the rest by tools/crd_schemas, which
holds what their documentation says of the fields that we use. With --crds a folder of definitions, as `kubectl get crds
-o yaml` prints them, is used for all of these instead. Pods inside of other objects are checked as pods.

Prints a line for each problem; the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

SCHEMAS = Path(__file__).with_name("crd_schemas")
VERSIONS = ("1.29", "1.37")
"""The oldest that the chart is for, and the newest that there are schemas of."""
_PODS = {
    "LeaderWorkerSet": (("leaderWorkerTemplate", "leaderTemplate"), ("leaderWorkerTemplate", "workerTemplate")),
    "ServingRuntime": ((),),
    "LLMInferenceServiceConfig": (("template",),),
}
"""Where other objects have pods, from their `spec`."""
_OF_PODS = ("containers", "initContainers", "volumes", "nodeSelector", "affinity", "tolerations", "imagePullSecrets",
            "terminationGracePeriodSeconds", "securityContext")  # fmt: skip


_NEWER = {"ScaledObject": {"spec.fallback.behavior"}}
"""Fields that are newer than the models, whose releases for this Python are of KEDA 2.16: this one came with 2.17. An
older KEDA leaves it out, and takes the number of replicas."""


def problems(document: dict[str, Any], definitions: dict[tuple[str, str], Any]) -> Iterator[str]:
    """What is wrong with one object."""
    version, kind = str(document.get("apiVersion")), str(document.get("kind"))
    name = f"{kind} {document.get('metadata', {}).get('name', '?')}"
    for problem in _problems(document, version, kind, definitions):
        yield f"{name}: {problem}"
    for path in _PODS.get(kind, ()):
        pod = _pod(document.get("spec"), path)
        for problem in _of_kubernetes(pod) if pod else ():
            yield f"{name}, pod at spec.{'.'.join(path)}: {problem}"


def _problems(
    document: dict[str, Any], version: str, kind: str, definitions: dict[tuple[str, str], Any]
) -> Iterator[str]:
    if (version, kind) in definitions:
        yield from _against(document, definitions[version, kind])
    elif version.startswith("keda.sh/"):
        from cloudcoil.models.keda import v1alpha1 as keda

        yield from _read_by(getattr(keda, kind, None), document)
    elif version.startswith("monitoring.coreos.com/"):
        from cloudcoil.models.prometheus_operator import v1 as prometheus

        yield from _read_by(getattr(prometheus, kind, None), document)
    elif (schema := SCHEMAS / f"{kind}.json").is_file():
        yield from _against(document, json.loads(schema.read_text(encoding="utf-8")))
    else:
        yield from _of_kubernetes(document)


def _of_kubernetes(document: dict[str, Any]) -> Iterator[str]:
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            path = ".".join(map(str, getattr(error, "path", ()) or ()))
            yield f"Kubernetes {version}: {path}: {error.message}"


def _against(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


def _read_by(model: Any, document: dict[str, Any]) -> Iterator[str]:
    """What a model made from the definition does not take, and what it does not know, which it would leave out."""
    if model is None:
        yield "no such kind"
        return
    try:
        read = model.model_validate(document)
    except ValueError as error:
        yield " ".join(str(error).split())
        return
    known = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
    newer = {f"{field}: no such field" for field in _NEWER.get(str(document["kind"]), ())}
    yield from (problem for problem in _missing(document, known, "") if problem not in newer)


def _missing(given: Any, known: Any, path: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key not in known:
                yield f"{path}{key}: no such field"
            else:
                yield from _missing(value, known[key], f"{path}{key}.")
    elif isinstance(given, list) and isinstance(known, list):
        for number, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from _missing(one, other, f"{path}{number}.")


def _pod(spec: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
    """A pod that is made of what stands in an object, if anything does."""
    for key in path:
        spec = spec.get(key) if isinstance(spec, dict) else None
    if not isinstance(spec, dict):
        return None
    template = spec if "spec" in spec else {"spec": {key: spec[key] for key in _OF_PODS if key in spec}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **template.get("metadata", {})},
            "spec": template["spec"]}  # fmt: skip


def read_definitions(folder: Path) -> dict[tuple[str, str], Any]:
    """The schemas in a folder of CustomResourceDefinitions, by version and kind; objects take no unknown fields."""
    schemas = {}
    for file in sorted(folder.rglob("*.y*ml")):
        for document in yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader):
            for each in (document or {}).get("items", [document]):
                if (each or {}).get("kind") == "CustomResourceDefinition":
                    schemas.update(_definition(each["spec"]))
    return schemas


def _definition(spec: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema


def _strict(node: Any) -> Any:
    """A definition's schema as a validator understands it."""
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {
        key: _strict(value) for key, value in node.items() if not key.startswith("x-kubernetes") and key != "format"
    }
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if isinstance(node.get("properties"), dict) and node.get("type") == "object" and not open_ended:
        result["additionalProperties"] = False
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Check Kubernetes objects without a cluster.")
    parser.add_argument("--crds", type=Path, metavar="FOLDER", help="definitions, as `kubectl get crds -o yaml` prints")
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML; - reads standard input")
    arguments = parser.parse_args()
    definitions = read_definitions(arguments.crds) if arguments.crds else {}
    checked = failed = 0
    for name in arguments.files:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        for document in yaml.load_all(text, yaml.CSafeLoader):
            if not document:
                continue
            checked += 1
            for problem in problems(document, definitions):
                failed += 1
                print(f"{name}: {problem}")
    print(f"{checked} objects checked, {failed} problems", file=sys.stderr)
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
