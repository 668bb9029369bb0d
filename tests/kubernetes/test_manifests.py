"""What is in deploy/, held against Kubernetes' schemas, those of other projects' objects, and a scanner."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kustomization
import pytest
import yaml
from helm_chart import CHART, checker, program, render
from source_tree import ROOT

IMAGE = "ghcr.io/me/engineroom:0.1.0-4ed324d525cf-vllm-0.33.0-cu129@sha256:" + "0" * 64
SECRETS = {"API_KEYS": {"name": "llm", "key": "api-keys"}, "HF_TOKEN": {"name": "llm", "key": "hf-token"}}
VARIANTS: dict[str, Mapping[str, Any]] = {
    "defaults": {},
    "everything": {
        "image": IMAGE,
        "secrets": SECRETS,
        "keysFile": {"name": "people", "key": "keys.yaml"},
        "tls": {"secretName": "tls"},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "key": {"name": "llm", "key": "metrics"}},
        "autoscaling": {"kind": "keda", "keda": {"authentication": "prometheus"}},
        "cache": {"accessMode": "ReadWriteMany", "storageClass": "shared"},
        "gpuNodes": "required",
        "extraEnv": [{"name": "NCCL_DEBUG", "value": "INFO"}],
        "networkPolicy": {"egress": [{"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}]}]},
        "pullSecrets": ["registry"],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "topologySpread": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "runtimeClass": "nvidia",
        "priorityClass": "high",
    },
    "several-nodes": {
        "image": IMAGE, "nodes": 2, "gpus": 8, "cache": {"kind": "hostPath"}, "podMonitor": {"enabled": True},
        "autoscaling": {"kind": "keda"},
    },
    "pool": {"engine": "llamacpp", "pool": {"enabled": True, "picker": "picker"}, "autoscaling": {"kind": "hpa"},
             "cache": {"kind": "emptyDir"}},
    "root": {"engine": "fastdeploy", "model": "baidu/ERNIE-4.5-0.3B-Paddle"},
    "serving-runtime": {"kserve": {"kind": "ServingRuntime"}, "secrets": SECRETS, "tls": {"secretName": "tls"}},
    "llm-inference-service": {"kserve": {"kind": "LLMInferenceServiceConfig"}, "secrets": SECRETS},
}  # fmt: skip
EXAMPLES = sorted(path.parent for path in kustomization.FOLDER.glob("examples/*/kustomization.yaml"))
NOT_ASKED = {
    "CKV_K8S_11": "a limit of the processor throttles an engine that could use what is free",
    "CKV_K8S_13": "how much memory a model's load takes only its user knows: the value `resources` has room for it",
}
"""What the scanner would have, and we would not."""


def built(folder: Path) -> str:
    """What Kustomize makes of a folder."""
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every variant of the chart and every Kustomization, each in a file."""
    folder = tmp_path_factory.mktemp("manifests")
    for name, values in VARIANTS.items():
        (folder / f"helm-{name}.yaml").write_text(yaml.safe_dump_all(render(values)))
    components = [name for name in kustomization.RENDERED if name.startswith("components/")]
    for name in (name for name in kustomization.RENDERED if name not in components):
        (folder / f"kustomize-{name.replace('/', '-')}.yaml").write_text(built(kustomization.FOLDER / name))
    for example in EXAMPLES:
        (folder / f"example-{example.name}.yaml").write_text(built(example))
    return folder


BROKEN = {
    "Deployment": ("apps/v1", "{replica: 2, selector: {}, template: {}}"),
    "ScaledObject": ("keda.sh/v1alpha1", "{scaleTargetRef: {name: x}, maxReplicas: 2, triggers: []}"),
    "PodMonitor": ("monitoring.coreos.com/v1", "{selector: {}, podMetricsEndpoint: []}"),
    "LeaderWorkerSet": (
        "leaderworkerset.x-k8s.io/v1",
        "{leaderWorkerTemplate: {size: 2, workerTemplate: {spec: {containers: [{name: x, port: []}]}}}}",
    ),
    "InferencePool": ("inference.networking.k8s.io/v1", "{selector: {matchLabels: {a: b}}, targetPort: 8000}"),
    "ServingRuntime": ("serving.kserve.io/v1alpha1", "{containers: [{name: worker, image: x}]}"),
    "LLMInferenceServiceConfig": ("serving.kserve.io/v1alpha2", "{template: {containers: [{name: worker}]}}"),
}
"""An object of each kind with one mistake."""


def test_everything_is_valid_and_what_is_wrong_is_seen(manifests: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        "\n---\n".join(
            f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {specification}"
            for kind, (version, specification) in BROKEN.items()
        )
    )
    files = sorted(map(str, manifests.glob("*.yaml")))
    assert len(files) >= len(VARIANTS) + len(EXAMPLES)
    command = [checker(), ROOT / "tools" / "validate_manifests.py", *files, broken]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    problems = done.stdout.splitlines()
    assert [problem for problem in problems if not problem.startswith(str(broken))] == []
    assert {problem.split()[1] for problem in problems} == set(BROKEN), done.stdout + done.stderr
    assert done.returncode == 1


def test_a_scanner_has_nothing_against_it(manifests: Path, tmp_path: Path) -> None:
    checkov = checker().with_name("checkov")
    for name in ("helm-everything", "helm-several-nodes"):
        (tmp_path / f"{name}.yaml").write_text((manifests / f"{name}.yaml").read_text())
    done = subprocess.run(
        [checkov, "--framework", "kubernetes", "--directory", tmp_path, "--compact", "--quiet", "--skip-download",
         "--skip-check", ",".join(NOT_ASKED)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed checks: 0" in done.stdout or not done.stdout.strip()


def test_helm_s_own_linter_has_nothing_against_the_chart() -> None:
    done = subprocess.run(
        [program("helm"), "lint", "--strict", CHART], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kustomize_has_what_the_chart_has_now() -> None:
    """Without helm the digest of what it was rendered from says as much."""
    assert (kustomization.FOLDER / "digest").read_text().strip() == kustomization.digest(), "run `make manifests`"
    helm = Path(program("helm"))
    for name, text in kustomization.files(helm):
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name} is stale; `make manifests` writes it"


def test_several_pods_of_a_kustomization_share_what_they_have_to_share() -> None:
    objects = list(yaml.safe_load_all(built(kustomization.FOLDER / "examples" / "vllm-keda")))
    claim = next(each for each in objects if each["kind"] == "PersistentVolumeClaim")
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    assert "replicas" not in deployment["spec"]
