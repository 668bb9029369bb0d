"""The values of the Helm chart in deploy/helm/engineroom, as models: its values.yaml and values.schema.json are made of
these, and so is the table in docs/kubernetes.md.

A value that is None by default stands in values.yaml as a comment: Helm gives the templates nothing for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

DNSName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
"""The name of a Kubernetes object, or nothing."""
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")]
"""A quantity of Kubernetes', `8Gi`."""
Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(ms|s|m|h))+$")]
"""A duration of Prometheus', `15s`."""
ManifestPart = dict[str, Any]
"""A part of a manifest, which goes there as it is."""


class ChartPart(BaseModel):
    """A mapping of values, in which no other key may stand."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SecretKey(ChartPart):
    """One key of a Kubernetes Secret in the release's namespace."""

    name: Annotated[DNSName, StringConstraints(min_length=1)] = Field(description="The Secret.")
    key: Annotated[str, StringConstraints(min_length=1)] = Field(description="The key in it.")


class TLSValues(ChartPart):
    secret_name: DNSName = Field(
        "",
        description="A Secret of the type kubernetes.io/tls, as cert-manager makes it. The worker then speaks HTTPS, "
        "also to probes and to Prometheus, and takes a renewed certificate without a restart.",
    )


class CacheValues(ChartPart):
    kind: Literal["claim", "existingClaim", "hostPath", "emptyDir"] = Field(
        "claim",
        description="Where downloaded models and compiled code are kept: a claim that the chart makes, one that is "
        "there already, a folder of each node, or the pod's own disk, which is empty in every new pod.",
    )
    size: Quantity = Field("100Gi", description="The size of the claim, or the limit of `emptyDir`.")
    storage_class: DNSName = Field("", description="Of the claim; empty for the cluster's default.")
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"] = Field(
        "ReadWriteOnce",
        description="Of the claim. Several pods need ReadWriteMany; with the others a new pod waits for the old one.",
    )
    existing_claim: DNSName = Field("", description="With `existingClaim`: its name.")
    host_path: str = Field(
        "/var/lib/engineroom",
        pattern=r"^/.+",
        description="With `hostPath`: the folder on each node, which has to be there and be the pod's user's.",
    )


class ServiceValues(ChartPart):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field("ClusterIP", description="The Service's type.")
    port: int = Field(80, ge=1, le=65535, description="The Service's port; the worker itself listens on 8000.")
    annotations: dict[str, str] = Field({}, description="For a cloud's load balancer.")


class PodMonitorValues(ChartPart):
    enabled: bool = Field(
        False, description="Whether Prometheus' operator is told of the pods. KEDA's query needs its labels."
    )
    interval: Duration = Field("15s", description="How often metrics are read.")
    labels: dict[str, str] = Field({}, description="What the operator's `podMonitorSelector` asks for.")
    key: SecretKey | None = Field(
        None, description="With API keys: Prometheus' own, one of those. Without one, set METRICS_OPEN in `settings`."
    )


class KEDAValues(ChartPart):
    prometheus: str = Field(
        "http://prometheus-operated.monitoring.svc:9090",
        pattern=r"^https?://",
        description="Where KEDA asks Prometheus.",
    )
    query: str = Field(
        "",
        description="What it asks. Default: the requests that run and wait in all pods of this release, by the labels "
        "that the PodMonitor gives.",
    )
    polling_interval: int = Field(15, ge=1, description="Seconds between two questions.")
    cooldown_period: int = Field(300, ge=0, description="Seconds without work before the last pod is taken away.")
    triggers: list[ManifestPart] = Field(
        [],
        description="More triggers. `minReplicas: 0` needs one: without a pod there are no gauges, so it has to count "
        "what waits in front of the pods.",
    )
    authentication: DNSName = Field("", description="A TriggerAuthentication for Prometheus.")


class AutoscalingValues(ChartPart):
    kind: Literal["none", "keda", "hpa"] = Field(
        "none",
        description="`keda`: a ScaledObject, which asks Prometheus. `hpa`: a HorizontalPodAutoscaler, which needs an "
        "adapter for custom metrics. With either of them `replicas` is not used.",
    )
    min_replicas: int = Field(1, ge=0, description="At least as many pods.")
    max_replicas: int = Field(4, ge=1, description="At most as many pods.")
    target_requests: int = Field(
        16,
        ge=1,
        description="Running and waiting requests for each pod: 40 to 60 % of MAX_CONCURRENT_REQUESTS (docs/scale.md).",
    )
    metric: str = Field(
        "engineroom_requests_running", min_length=1, description="With `hpa`: what the adapter calls their number."
    )
    scale_down_seconds: int = Field(
        300, ge=0, le=3600, description="For how long the load has to be lower before a pod is taken away."
    )
    keda: KEDAValues = Field(KEDAValues(), description="With `kind: keda`.")


class DisruptionBudgetValues(ChartPart):
    enabled: bool = Field(True, description="Whether nodes that are emptied take one pod at a time.")
    max_unavailable: int = Field(1, ge=1, description="Pods that may be away at a time.")


class NetworkPolicyValues(ChartPart):
    enabled: bool = Field(True, description="Whether the network is closed but for what follows.")
    clients: list[ManifestPart] = Field(
        [{"podSelector": {}}], description="Who may use the API (NetworkPolicyPeer); [] for everybody."
    )
    metrics: list[ManifestPart] = Field(
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        description="Who may reach the port besides, to read metrics.",
    )
    egress_ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        [443], description="TCP ports anywhere that the worker may connect to, beside DNS; 443 is for the hub."
    )
    egress: list[ManifestPart] = Field([], description="More rules (NetworkPolicyEgressRule), such as one for Redis.")


class PoolValues(ChartPart):
    enabled: bool = Field(
        False, description="Whether the pods are members of an InferencePool, which the chart makes (llm-d's gateway)."
    )
    labels: dict[str, str] = Field(
        {"llm-d.ai/inferenceServing": "true"}, description="More labels of the pods, by which a pool may select them."
    )
    picker: DNSName = Field("", description="The Service of the endpoint picker.")
    picker_port: int = Field(9002, ge=1, le=65535, description="Its port.")


class KServeValues(ChartPart):
    kind: Literal["none", "ServingRuntime", "LLMInferenceServiceConfig"] = Field(
        "none",
        description="Make this object of KServe's instead of everything else: KServe makes the pods, fetches the model "
        "to /mnt/models, and scales.",
    )
    model_format: str = Field("engineroom", min_length=1, description="What an InferenceService asks for.")


class ServiceAccountValues(ChartPart):
    create: bool = Field(True, description="Whether the chart makes one. It has no rights, and no token is mounted.")
    name: DNSName = Field("", description="Its name; empty for the release's.")
    annotations: dict[str, str] = Field({}, description="Of the one that is made.")


class ChartValues(ChartPart):
    """All of them."""

    image: str = Field(
        "",
        pattern=r"^\S*$",
        description="The image's full name, as `make push` prints it, with or without a digest. Empty: the release's "
        "image of `row` or `engine`.",
    )
    row: str = Field("", description="The image's row in docs/images.md, where its name does not end in one.")
    engine: str = Field("", description="The engine, where `image` and `row` are empty: its first image is taken.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field("IfNotPresent", description="Of the image.")
    pull_secrets: list[DNSName] = Field([], description="Secrets of the image's registry.")
    model: str = Field("Qwen/Qwen3-0.6B", description="MODEL_NAME: a repository of the hub, or a path in the image.")
    revision: str = Field("", description="MODEL_REVISION: a branch, tag or commit; write a number in quotes.")
    settings: dict[str, Any] = Field(
        {}, description="Settings by their names, as `engineroom config --all` lists them. Secrets are not for here."
    )
    secrets: dict[str, SecretKey] = Field(
        {}, description="Settings that are secret, each with the Secret that holds it. They are mounted as files."
    )
    keys_file: SecretKey | None = Field(
        None, description="API_KEYS_FILE: a Secret with a file of keys, which is read again when it changes."
    )
    extra_env: list[ManifestPart] = Field(
        [], description="More variables (EnvVar), such as those that an engine's libraries read."
    )
    replicas: int = Field(1, ge=0, description="Pods, or groups of pods where `nodes` is more than 1.")
    nodes: int = Field(1, ge=1, description="Machines for one replica. More than one makes a LeaderWorkerSet.")
    gpus: int | None = Field(None, ge=0, description="GPUs of a pod. Default: 1, or 0 where the image is for CPUs.")
    gpu_resource: str = Field("nvidia.com/gpu", min_length=1, description="What they are called in the cluster.")
    gpu_nodes: Literal["preferred", "required", "any"] = Field(
        "preferred",
        description="Nodes whose GPU and driver the image is for, by the labels of NVIDIA's feature discovery. "
        "`required` leaves the pod pending where no node has them.",
    )
    resources: ManifestPart = Field(
        {"requests": {"cpu": "2", "memory": "8Gi"}}, description="CPU and memory; the GPUs are added."
    )
    shared_memory: Quantity = Field(
        "8Gi", description="The limit of /dev/shm, through which an engine's processes share tensors."
    )
    cache: CacheValues = Field(CacheValues(), description="The volume of models, at /models.")
    download: bool = Field(
        True,
        description="Whether an init container fetches the model (`engineroom pull --if-missing`) where the engine "
        "loads one.",
    )
    startup_seconds: int = Field(
        1800, ge=10, description="How long the worker may take to become ready before it is started again."
    )
    lame_duck: int = Field(
        15, ge=0, description="LAME_DUCK: seconds for which requests are still taken after the pod is told to stop."
    )
    drain_timeout: int = Field(30, ge=0, description="DRAIN_TIMEOUT: seconds that running requests have after that.")
    termination_grace_period_seconds: int | None = Field(
        None, ge=1, description="Default: `lameDuck` and `drainTimeout` and 15. Less is refused."
    )
    tls: TLSValues = Field(TLSValues(), description="TLS at the worker.")
    service: ServiceValues = Field(ServiceValues(), description="Where clients in the cluster find it.")
    pod_monitor: PodMonitorValues = Field(PodMonitorValues(), description="Metrics.")
    autoscaling: AutoscalingValues = Field(AutoscalingValues(), description="How many pods there are.")
    disruption_budget: DisruptionBudgetValues = Field(DisruptionBudgetValues(), description="A PodDisruptionBudget.")
    network_policy: NetworkPolicyValues = Field(NetworkPolicyValues(), description="Who may talk to whom.")
    pool: PoolValues = Field(PoolValues(), description="Gateway API's inference extension.")
    kserve: KServeValues = Field(KServeValues(), description="KServe.")
    service_account: ServiceAccountValues = Field(ServiceAccountValues(), description="The pods' account.")
    run_as_user: int | None = Field(
        None, ge=0, description="Default: 10001, or root for the images that need it (docs/images.md)."
    )
    read_only_root: bool | None = Field(
        None,
        description="Whether the container's own disk is read-only. Default: true, but for images that are root, which "
        "write beside their own files. Some set-ups of NVIDIA's runtime (CDI hooks) need it writable.",
    )
    pod_labels: dict[str, str] = Field({}, description="More labels of the pods.")
    pod_annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: list[ManifestPart] = Field([], description="Beside the one for nodes with GPUs.")
    topology_spread: list[ManifestPart] = Field([], description="topologySpreadConstraints.")
    priority_class: DNSName = Field("", description="priorityClassName.")
    runtime_class: DNSName = Field("", description="runtimeClassName, such as nvidia.")
    name_override: DNSName = Field("", description="What the objects are called, in the place of the release's name.")
