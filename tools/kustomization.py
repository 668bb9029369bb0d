"""deploy/kustomize, rendered from the Helm chart: `make manifests`; with --check it says whether it is stale.

The chart is the one source. Its digest stands in deploy/kustomize/digest, so that a machine without helm can tell, too.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chart
import kubernetes_programs
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy" / "kustomize"
NAME = "engineroom"

_BASE = ("deployment", "service", "serviceaccount", "claim", "poddisruptionbudget", "networkpolicy")
_LABEL = f'{{app_kubernetes_io_instance="{NAME}"}}'
_QUERY = f"sum(vllm:num_requests_running{_LABEL}) + sum(vllm:num_requests_waiting{_LABEL})"
"""As the chart's, but for the namespace, which Kustomize sets later."""

RENDERED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "base": (_BASE, ()),
    "several-nodes": (
        ("leaderworkerset", *_BASE[1:]),
        ("nodes=2", "cache.accessMode=ReadWriteMany"),
    ),
    "components/podmonitor": (("podmonitor",), ("podMonitor.enabled=true",)),
    "components/keda": (
        ("scaledobject",),
        ("autoscaling.kind=keda", "podMonitor.enabled=true", "cache.accessMode=ReadWriteMany"),
    ),
    "components/hpa": (("horizontalpodautoscaler",), ("autoscaling.kind=hpa", "cache.accessMode=ReadWriteMany")),
    "components/inference-pool": (("inferencepool",), ("pool.enabled=true", "pool.picker=engineroom-picker")),
    "kserve/serving-runtime": (("kserve",), ("kserve.kind=ServingRuntime",)),
    "kserve/llm-inference-service": (("kserve",), ("kserve.kind=LLMInferenceServiceConfig",)),
}
"""Each folder: the chart's templates that are in it, and the values that differ from their defaults."""


_AUTOSCALED = [
    {
        "target": {"kind": "Deployment", "name": NAME},
        "patch": "- {op: remove, path: /spec/replicas}\n- op: replace\n  path: /spec/strategy\n"
        "  value: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n",
    },
    {
        "target": {"kind": "PersistentVolumeClaim", "name": f"{NAME}-models"},
        "patch": "- {op: replace, path: /spec/accessModes, value: [ReadWriteMany]}\n",
    },
]
"""What several pods need of the base: their number is the autoscaler's, and all of them mount the claim."""

PATCHES = {"components/keda": _AUTOSCALED, "components/hpa": _AUTOSCALED}


def files(helm: Path) -> Iterator[tuple[str, str]]:
    """Each rendered file's path in the repository and what it must hold."""
    for folder, (templates, values) in RENDERED.items():
        for template, text in zip(templates, _render(helm, templates, values), strict=True):
            yield f"deploy/kustomize/{folder}/{template}.yaml", text
        yield f"deploy/kustomize/{folder}/kustomization.yaml", _kustomization(folder, templates)
    yield "deploy/kustomize/digest", digest() + "\n"


def digest() -> str:
    """What the rendered files are made from, in one number. Of the images only the first is in them."""
    folder = ROOT / chart.CHART
    content = hashlib.sha256(json.dumps(json.loads((folder / "files/images.json").read_bytes())[0]).encode())
    for path in [Path(__file__), folder / "Chart.yaml", folder / "values.yaml", *sorted(folder.glob("templates/*"))]:
        content.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()


def _render(helm: Path, templates: tuple[str, ...], values: tuple[str, ...]) -> Iterator[str]:
    """The templates' objects, in their order."""
    query = _QUERY.replace(",", "\\,")
    command = [str(helm), "template", NAME, str(ROOT / chart.CHART)]
    command += [part for template in templates for part in ("--show-only", f"templates/{template}.yaml")]
    command += [part for value in values for part in ("--set", value)]
    command += ["--set-string", f"autoscaling.keda.query={query}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        sys.exit(done.stderr)
    head = "# Rendered from deploy/helm/engineroom by `make manifests`.\n"
    objects = [_without_helm(each) for each in yaml.safe_load_all(done.stdout) if each]
    for each in objects:
        yield head + yaml.safe_dump(each, sort_keys=False, width=200)


def _without_helm(node: Any) -> Any:
    """An object without what is only Helm's business, and without a namespace, which Kustomize sets."""
    if isinstance(node, list):
        return [_without_helm(each) for each in node]
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if key in ("app.kubernetes.io/managed-by", "helm.sh/resource-policy"):
            continue
        kept = _without_helm(value)
        if key == "metadata" and isinstance(kept, dict):
            kept.pop("namespace", None)
        if key == "annotations" and not kept:
            continue
        result[key] = kept
    return result


def _kustomization(folder: str, templates: tuple[str, ...]) -> str:
    component = folder.startswith("components/")
    content: dict[str, Any] = {
        "apiVersion": f"kustomize.config.k8s.io/{'v1alpha1' if component else 'v1beta1'}",
        "kind": "Component" if component else "Kustomization",
        "resources": [f"{template}.yaml" for template in templates],
    }
    if folder in PATCHES:
        content["patches"] = PATCHES[folder]
    return "# Rendered from deploy/helm/engineroom by `make manifests`.\n" + yaml.safe_dump(content, sort_keys=False)


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    helm = kubernetes_programs.find("helm")
    if helm is None:
        sys.exit("helm is needed; `make env-kubernetes` fetches it")
    wanted = dict(files(helm))
    written = {path.relative_to(ROOT).as_posix() for folder in RENDERED for path in (FOLDER / folder).glob("*.yaml")}
    stale = [name for name, text in wanted.items() if not (ROOT / name).is_file() or (ROOT / name).read_text() != text]
    for name in sorted(written - set(wanted)):
        print(f"{name} has no template any more; remove it")
    for name in stale:
        if not check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(wanted[name], encoding="utf-8")
        print(f"{name} is stale; `make manifests` writes it" if check else f"wrote {name}")
    return 1 if check and (stale or written - set(wanted)) else 0


if __name__ == "__main__":
    sys.exit(main())
