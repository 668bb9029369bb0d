"""The Helm chart: what it renders runs our images, and a wrong value is refused with what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chart
import hub_files
import pytest
import yaml
from chart_values import ChartValues
from helm_chart import CHART, NAMESPACE, RELEASE, container, notes, of_kind, pod, refusal, render, variables
from pages import blocks
from source_tree import ROOT

from engineroom import plugins
from engineroom.errors import SettingsError
from engineroom.hardware import Image, Matrix
from engineroom.settings import Environment

MATRIX = Matrix.load(ROOT / "docker/matrix.json")
FIRST = [MATRIX.select(engine)[0] for engine in MATRIX.engines]
"""An image of each engine."""
NEEDED = {"UPSTREAM_URLS": "http://llama:8080"}
"""What an engine cannot do without, and no listing has."""


def settings_of(image: Image) -> dict[str, Any]:
    """Values under which an engine's image serves a model, from its listing for RunPod's Hub."""
    presets = hub_files.Listing.of(image.engine).presets
    chosen = dict(presets[0]["defaults"]) if presets else {}
    model = chosen.pop("MODEL_NAME", "")
    engine, env = chart.engine_of(image)
    own = {each.name for group in engine.settings(env) for each in group.describe()}
    needed = {name: value for name, value in NEEDED.items() if name in own}
    return {"row": image.name, "model": model, "settings": {**chosen, **needed, "MAX_REQUEST_MB": 64}}


def problems(env: Mapping[str, str], image: Image) -> list[str]:
    """What a start would say of these variables; that the engine itself is not on this machine is none of them."""
    versions = {f"{image.engine.upper()}_VERSION": image.version, f"{image.engine.upper()}_PYTHON": "/nonexistent"}
    own = {"ENGINE": image.engine, "ENGINEROOM_IMAGE": image.name}
    try:
        setup = plugins.check(Environment.load({**env, **own, **versions}, Path("/nonexistent")))
    except SettingsError as error:
        return [str(each) for each in error.problems if each.variable != "ENGINE"]
    return [notice.message for notice in setup.names.warnings if notice.variable in env]


def unknown(env: Mapping[str, str], image: Image) -> set[str]:
    """Variables that neither the core nor the HTTP door nor the engine reads."""
    engine, of_engine = chart.engine_of(image)
    names = plugins.known_names(engine, of_engine, "http")
    return {name for name in env if not names.knows(name)} - {"HOME"}


@pytest.mark.parametrize("image", FIRST, ids=lambda image: str(image.engine))
def test_a_pod_s_variables_are_settings_that_its_engine_takes(image: Image) -> None:
    objects = render(settings_of(image))
    worker = container(pod(objects))
    env = variables(worker)
    assert problems(env, image) == []
    assert unknown(env, image) == set()
    assert env["MAX_REQUEST_MB"] == "64"
    assert worker["args"] == ["start"]
    assert worker["image"].endswith(f"-{image.name}")
    assert worker["resources"].get("limits", {}) == ({"nvidia.com/gpu": 1} if image.sm else {})


def test_a_variable_that_is_no_setting_would_be_seen() -> None:
    image = FIRST[0]
    env = variables(container(pod(render(settings_of(image)))))
    assert problems({**env, "MAX_NUM_SEQ": "4"}, image)
    assert unknown({**env, "LAME_DUCKS": "4"}, image) == {"LAME_DUCKS"}


@pytest.mark.parametrize("image", FIRST, ids=lambda image: str(image.engine))
def test_a_pod_may_do_nothing_that_its_image_does_not_need(image: Image) -> None:
    specification = pod(render(settings_of(image)))
    user = chart.pod_user(image)
    assert specification["securityContext"]["runAsUser"] == user
    assert specification["automountServiceAccountToken"] is False
    for each in [*specification.get("initContainers", []), *specification["containers"]]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": user != 0,
            "runAsNonRoot": user != 0,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_a_model_is_fetched_beforehand_where_an_engine_loads_one() -> None:
    for image in FIRST:
        specification = pod(render(settings_of(image)))
        loads = bool(chart.engine_of(image)[0].model_formats)
        keeps = "BASE_PATH" in variables(container(specification))
        assert keeps == any(each["mountPath"] == "/models" for each in container(specification)["volumeMounts"])
        assert keeps or not loads
        assert [each["args"] for each in specification.get("initContainers", [])] == (
            [["pull", "--if-missing", "$(MODEL_NAME)"]] if loads else []
        )
    assert "initContainers" not in pod(render({"download": False}))
    assert "initContainers" not in pod(render({"model": "", "settings": {"MODELS": "/etc/models.yaml"}}))


def test_a_pod_has_time_to_end() -> None:
    specification = pod(render({"lameDuck": 20, "drainTimeout": 600}))
    env = variables(container(specification))
    assert (env["LAME_DUCK"], env["DRAIN_TIMEOUT"]) == ("20", "600")
    assert specification["terminationGracePeriodSeconds"] == 635
    assert pod(render({"terminationGracePeriodSeconds": 100}))["terminationGracePeriodSeconds"] == 100


def test_gpus_are_asked_for_as_the_row_says() -> None:
    specification = pod(render({"row": "max-26.7.0-cu130", "gpuNodes": "required", "gpus": 4}))
    assert container(specification)["resources"]["limits"] == {"nvidia.com/gpu": 4}
    assert specification["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    affinity = specification["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    allowed = {
        f"{major}{minor}"
        for term in affinity["nodeSelectorTerms"]
        for major in term["matchExpressions"][0]["values"]
        for minor in term["matchExpressions"][1]["values"]
    }
    assert allowed == set(MATRIX.named("max-26.7.0-cu130").sm)
    assert {term["matchExpressions"][2]["values"][0] for term in affinity["nodeSelectorTerms"]} == {"579"}
    assert "affinity" not in pod(render({"gpuNodes": "any"}))
    assert "affinity" not in pod(render({"engine": "echo"}))


def test_what_an_image_needs_otherwise_can_be_said() -> None:
    security = container(pod(render({"readOnlyRoot": False, "runAsUser": 1000})))["securityContext"]
    assert (security["readOnlyRootFilesystem"], security["runAsNonRoot"]) == (False, True)
    assert container(pod(render({"engine": "max", "readOnlyRoot": True})))["securityContext"]["readOnlyRootFilesystem"]


def test_an_image_s_name_says_which_engine_it_has() -> None:
    name = "ghcr.io/me/engineroom:0.1.0-4ed324d525cf-llamacpp-b11459-cu128-qwen3-0a1b@sha256:" + "0" * 64
    worker = container(pod(render({"image": name, "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M"})))
    assert (worker["image"], worker["resources"]["limits"]) == (name, {"nvidia.com/gpu": 1})
    assert container(pod(render({"engine": "llamacpp", "gpus": 0})))["image"].endswith("-cpu")
    assert container(pod(render({"engine": "llamacpp", "gpus": 1})))["image"].endswith("-cu128")


def test_values_arrive_as_they_were_written() -> None:
    written = {"RESPONSES_TTL": 31536000, "QUEUE_TIMEOUT": 2.5, "METRICS": False, "CORS_ORIGINS": ["a", "b"],
               "MAX_LORAS": 4, "LORA_MODULES": [{"name": "x", "path": "/x"}],
               "SPECULATIVE_CONFIG": {"method": "ngram", "num_speculative_tokens": 4}}  # fmt: skip
    env = variables(container(pod(render({"settings": written, "revision": "0123456789012345678"}))))
    assert {name: env[name] for name in written} == {
        "RESPONSES_TTL": "31536000",
        "QUEUE_TIMEOUT": "2.5",
        "METRICS": "false",
        "CORS_ORIGINS": "a,b",
        "MAX_LORAS": "4",
        "LORA_MODULES": '[{"name":"x","path":"/x"}]',
        "SPECULATIVE_CONFIG": '{"method":"ngram","num_speculative_tokens":4}',
    }
    assert env["MODEL_REVISION"] == "0123456789012345678"


def test_secrets_are_files_and_never_variables() -> None:
    values = {
        "secrets": {"HF_TOKEN": {"name": "llm", "key": "hf-token"}, "API_KEYS": {"name": "llm", "key": "keys"}},
        "keysFile": {"name": "people", "key": "keys.yaml"},
        "tls": {"secretName": "chat-tls"},
        "podMonitor": {"enabled": True, "key": {"name": "llm", "key": "metrics"}},
    }
    objects = render(values)
    specification = pod(objects)
    worker = container(specification)
    assert not [each for each in worker["env"] if "secretKeyRef" in each.get("valueFrom", {})]
    volumes = {each["name"]: each for each in specification["volumes"]}
    paths = {each["mountPath"]: volumes[each["name"]] for each in worker["volumeMounts"]}
    projected = paths["/etc/engineroom/secrets"]["projected"]["sources"]
    assert {each["secret"]["items"][0]["path"]: each["secret"]["name"] for each in projected} == {
        "HF_TOKEN": "llm",
        "API_KEYS": "llm",
    }
    env = variables(worker)
    assert env["ENGINEROOM_SECRETS_DIR"] == "/etc/engineroom/secrets"
    assert env["API_KEYS_FILE"] == "/etc/engineroom/keys/keys.yaml"
    assert env["UVICORN_SSL_CERTFILE"] == "/etc/engineroom/tls/tls.crt"
    probes = [worker[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert [each["path"] for each in probes] == ["/startupz", "/readyz", "/livez"]
    assert {each["scheme"] for each in probes} == {"HTTPS"}
    (endpoint,) = of_kind(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["authorization"]["credentials"] == {"name": "llm", "key": "metrics"}


def test_what_is_selected_are_the_pods_that_answer() -> None:
    for values in ({}, {"nodes": 2, "cache": {"kind": "hostPath"}}):
        objects = render({**values, "podMonitor": {"enabled": True}, "pool": {"enabled": True, "picker": "picker"}})
        if values:
            group = of_kind(objects, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
            labels = group["leaderTemplate"]["metadata"]["labels"]
            others = group["workerTemplate"]["metadata"]["labels"]
        else:
            labels, others = of_kind(objects, "Deployment")["spec"]["template"]["metadata"]["labels"], {}
        selectors = [
            of_kind(objects, "Service")["spec"]["selector"],
            of_kind(objects, "InferencePool")["spec"]["selector"]["matchLabels"],
            *(
                of_kind(objects, kind)["spec"]["selector"]["matchLabels"]
                for kind in ("PodMonitor", "PodDisruptionBudget")
            ),
        ]
        for selector in selectors:
            assert selector.items() <= labels.items()
            assert not selector.items() <= others.items()
        closed = of_kind(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
        assert closed.items() <= labels.items()
        assert all(each["metadata"]["namespace"] == NAMESPACE for each in objects)


@pytest.mark.parametrize(
    "image", [image for image in FIRST if chart.image_facts(image)["nodes"]], ids=lambda image: str(image.engine)
)
def test_a_replica_on_several_machines_is_one_engine(image: Image) -> None:
    objects = render({"row": image.name, "nodes": 2, "gpus": 8, "cache": {"kind": "hostPath"}})
    group = of_kind(objects, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
    assert (group["size"], group["restartPolicy"]) == (2, "RecreateGroupOnPodRestart")
    assert "Deployment" not in {each["kind"] for each in objects}
    leader, follower = (container(group[name]["spec"]) for name in ("leaderTemplate", "workerTemplate"))
    assert leader["env"] == follower["env"]
    rank = next(each for each in leader["env"] if each["name"] == "NODE_RANK")
    assert rank["valueFrom"]["fieldRef"]["fieldPath"].endswith("['leaderworkerset.sigs.k8s.io/worker-index']")
    # The controller puts LWS_LEADER_ADDRESS before all other variables, so that the kubelet can fill it in.
    env = {name: value.replace("$(LWS_LEADER_ADDRESS)", "chat-0.chat.llm") for name, value in variables(leader).items()}
    assert problems(env, image) == []
    assert (env["NNODES"], env["TENSOR_PARALLEL_SIZE"], env["PIPELINE_PARALLEL_SIZE"]) == ("2", "8", "2")
    # A follower serves nothing and is never ready in the door's sense.
    assert leader["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert follower["readinessProbe"]["httpGet"]["path"] == "/livez"


def test_an_autoscaler_counts_what_runs_and_what_waits() -> None:
    values = {
        "autoscaling": {"kind": "keda", "maxReplicas": 8, "targetRequests": 24},
        "podMonitor": {"enabled": True},
        "cache": {"kind": "emptyDir"},
    }
    objects = render(values)
    scaled = of_kind(objects, "ScaledObject")["spec"]
    (trigger,) = scaled["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "24")
    query = trigger["metadata"]["query"]
    labels = f'{{namespace="{NAMESPACE}", app_kubernetes_io_instance="{RELEASE}"}}'
    assert query == f"sum(vllm:num_requests_running{labels}) + sum(vllm:num_requests_waiting{labels})"
    assert "replicas" not in of_kind(objects, "Deployment")["spec"]
    values["autoscaling"] = {"kind": "hpa", "maxReplicas": 8, "targetRequests": 24}
    (metric,) = of_kind(render(values), "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "24"}
    values["nodes"] = 2
    target = of_kind(render(values), "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["kind"] == "LeaderWorkerSet"


@pytest.mark.parametrize(
    ("kind", "name"), [("ServingRuntime", "kserve-container"), ("LLMInferenceServiceConfig", "main")]
)
def test_kserve_gets_its_own_object_and_nothing_else(kind: str, name: str) -> None:
    (only,) = render({"kserve": {"kind": kind}})
    specification = only["spec"].get("template", only["spec"])
    worker = container(specification)
    assert (only["kind"], worker["name"]) == (kind, name)
    assert worker["ports"] == [{"containerPort": 8000, "protocol": "TCP"}]
    env = variables(worker)
    assert env["MODEL_NAME"] == "/mnt/models"
    assert (
        "Name }}" in env["OPENAI_SERVED_MODEL_NAME_OVERRIDE"] or env["OPENAI_SERVED_MODEL_NAME_OVERRIDE"] == "{{.Name}}"
    )
    if name == "main":
        assert env["UVICORN_SSL_CERTFILE"].endswith("/var/run/kserve/tls/tls.crt{{ end }}")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"settings": {"MAX_CONCURENT_REQUESTS": 3}}, "additional properties 'MAX_CONCURENT_REQUESTS' not allowed"),
    ({"settings": {"MAX_CONCURRENT_REQUESTS": 0}}, "at '/settings/MAX_CONCURRENT_REQUESTS': minimum: got 0, want 1"),
    ({"settings": {"METRICS": "yes, please"}}, "at '/settings/METRICS': got string, want boolean"),
    ({"settings": {"LOG_LEVEL": "LOUD"}}, "at '/settings/LOG_LEVEL': value must be one of 'DEBUG'"),
    ({"settings": {"HF_TOKEN": "hf_x"}}, "settings.HF_TOKEN: it is a secret, which does not belong into values"),
    ({"settings": {"PORT": 9000}}, "settings.PORT: the chart sets it; see service.port"),
    ({"settings": {"DRAIN_TIMEOUT": 90}}, "settings.DRAIN_TIMEOUT: the chart sets it; see drainTimeout"),
    ({"secrets": {"HF_TOKE": {"name": "a", "key": "b"}}}, "invalid propertyName 'HF_TOKE'"),
    ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"gpus": -1}, "at '/gpus': minimum: got -1, want 0"),
    ({"engine": "vlm"}, "at '/engine': value must be one of"),
    ({"engine": "echo", "gpus": 1}, "gpus: no image of echo is for GPUs"),
    ({"engine": "max", "image": "me/x:1-echo-0.1.0-cpu"}, "engine: max is not the engine of the image echo-0.1.0-cpu"),
    ({"image": "ghcr.io/me/llm:latest"}, "image: ghcr.io/me/llm:latest does not end in the name of one of our images"),
    ({"row": "echo-0.1.0-cpu", "gpus": 1}, "gpus: the image echo-0.1.0-cpu is for CPUs"),
    ({"terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds: 30 is too short: lameDuck 15"),
    ({"replicas": 2}, "cache.accessMode: with ReadWriteOnce only one node can use the claim"),
    ({"cache": {"kind": "existingClaim"}}, "cache.existingClaim: with cache.kind existingClaim it has to name"),
    ({"engine": "max", "nodes": 2, "cache": {"kind": "hostPath"}}, "nodes: max runs on one machine"),
    ({"autoscaling": {"kind": "keda", "minReplicas": 0}, "cache": {"kind": "emptyDir"}}, "nothing would ever start"),
    ({"autoscaling": {"kind": "hpa", "minReplicas": 0}, "cache": {"kind": "emptyDir"}}, "keeps at least 1 pod"),
    (
        {"autoscaling": {"kind": "keda", "targetRequests": 64}, "settings": {"MAX_CONCURRENT_REQUESTS": 32},
         "cache": {"kind": "emptyDir"}},
        "autoscaling.targetRequests: 64 is more than a pod runs at a time",
    ),
    ({"autoscaling": {"minReplicas": 9}}, "autoscaling.minReplicas: 9 is more than maxReplicas, 4"),
    ({"pool": {"enabled": True}}, "pool.picker: an InferencePool needs the Service of its endpoint picker"),
    ({"keysFile": {"name": "s", "key": "k"}, "podMonitor": {"enabled": True}}, "podMonitor.key: clients need a key"),
    ({"extraEnv": [{"name": "PORT", "value": "1"}]}, "extraEnv: PORT is set already"),
    ({"kserve": {"kind": "ServingRuntime"}, "nodes": 2}, "kserve.kind: KServe's object is for one machine here"),
    ({"kserve": {"kind": "ServingRuntime"}, "keysFile": {"name": "s", "key": "k"}}, "keysFile: KServe's object has no"),
    ({"nameOverride": "7b-chat"}, "nameOverride: a Service's name begins with a letter"),
    ({"sharedMemory": "much"}, "at '/sharedMemory': 'much' does not match pattern"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_a_wrong_value_is_refused_with_its_name(values: dict[str, Any], words: str) -> None:
    assert words in refusal(values)


def test_who_installs_it_is_told_what_is_missing() -> None:
    """`helm install` prints it; --dry-run=client needs no cluster."""
    open_to_all = notes({"engine": "llamacpp", "gpus": 0})
    assert "http://chat.llm:80/v1" in open_to_all
    assert "whoever reaches the Service may use the model" in open_to_all
    assert "is in no registry" in open_to_all
    closed = notes({"image": "ghcr.io/me/x:1-echo-0.1.0-cpu", "secrets": {"API_KEYS": {"name": "llm", "key": "keys"}},
                    "tls": {"secretName": "tls"}})  # fmt: skip
    assert "https://chat.llm:80/v1" in closed
    assert "WARNING" not in closed
    assert "something else has to have Prometheus read" in notes(
        {"autoscaling": {"kind": "keda"}, "cache": {"kind": "emptyDir"}}
    )


PAGE = ROOT / "docs" / "kubernetes.md"
IN_PAGE = [yaml.safe_load(block) for block in blocks(PAGE, "yaml")]
KNOWN = {field.alias for field in ChartValues.model_fields.values()}
EXAMPLES = [each for each in IN_PAGE if set(each) <= KNOWN]


def test_what_the_documentation_would_have_one_write_is_taken() -> None:
    """Each piece by itself, and all of them as one file."""
    assert len(EXAMPLES) == 3
    assert [each.get("kind", "rules") for each in IN_PAGE if each not in EXAMPLES] == ["rules", "InferenceService"]
    everything: dict[str, Any] = {}
    for example in EXAMPLES:
        render(example)
        everything |= example
    kinds = {each["kind"] for each in render(everything)}
    assert {"Deployment", "ScaledObject", "PodMonitor", "InferencePool"} <= kinds


def test_values_yaml_is_what_the_chart_starts_from() -> None:
    """Whoever copies the file and changes nothing gets what they would get without it."""
    written = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert render(written) == render({})
