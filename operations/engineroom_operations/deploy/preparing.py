"""From the file and the settings to a specification: what is left open is looked up, and what was chosen once stays."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from engineroom import __version__
from engineroom.errors import Problem, SettingsError
from engineroom.hardware import IMAGE_REPOSITORY, CatalogGpu, GpuCatalog, Image, ImageName, Matrix
from engineroom.runpod_account import DeploymentKind, plain_name
from engineroom.settings import Environment

from ..fit.reading import ModelMemory
from ..runpod_api.client import RunPodClient
from ..runpod_api.resources import ENDPOINTS, PODS, REGISTRIES, TEMPLATES, VOLUMES, DataCenterOffer
from .deployment_file import DeploymentFile, RegistrySection
from .engine_settings import EngineSettings, demand_of, look_up
from .hardware import (
    GpuChoice,
    GpuMarket,
    Hardware,
    cheapest_cpu,
    fitting_hardware,
    gpu_market,
    named_hardware,
)
from .observed import Present
from .plan import PlanError
from .wanted import DISK_GB, Specification, gpu_price
from .worker_variables import WorkerVariables, worker_variables

IMAGE_TAG = "IMAGE_TAG"
"""The variable of what images' tags begin with; a release's images have our version."""
_CUDA_OF_DRIVER = {525: "12.0", 535: "12.2", 550: "12.4", 560: "12.6", 570: "12.8", 575: "12.9", 580: "13.0"}
"""The newest CUDA that a branch of NVIDIA's driver knows (CUDA's release notes): RunPod asks for machines by that."""
_CPUS = 4
_BESIDE_MODEL_GB = 20
"""Disk for what is no model: the container's own files, caches, compiled code."""


class Prepared(NamedTuple):
    """A specification, and what a person should know about it.

    catalog: today's prices. usd_per_hour: of the pod or of one worker; None where RunPod states no price.
    """

    spec: Specification
    catalog: GpuCatalog
    usd_per_hour: float | None
    notes: tuple[str, ...]


class Preparation:
    """Fills in what the file leaves open."""

    def __init__(
        self,
        api: RunPodClient,
        file: DeploymentFile,
        settings: EngineSettings,
        kind: DeploymentKind,
        name: str,
        matrix: Matrix,
        present: Present,
    ) -> None:
        self._api = api
        self._file = file
        self._settings = settings
        self._kind = kind
        self._name = name
        self._matrix = matrix
        self._present = present
        self._notes: list[str] = list(settings.warnings)
        self._model = settings.memory
        self._template: Mapping[str, Any] = {}

    async def prepare(self) -> Prepared:
        """The specification.

        Raises:
            SettingsError: something cannot be had; the text says what to write instead.
            PlanError: another kind of deployment has the name.
            RunPodApiError: RunPod's catalog cannot be read.
        """
        self._check_other_kind()
        self._notes += without_effect(self._file, self._kind)
        self._template = await self._existing_template()
        market = gpu_market(await self._api.gpus("POD" if self._kind == "pod" else "SERVERLESS"))
        hardware = await self._hardware(market)
        image, row = self._image(hardware, market)
        variables = self._variables(hardware)
        username, password = self._credentials()
        spec = Specification(
            name=self._name,
            kind=self._kind,
            file=self._file,
            image=image,
            variables=variables,
            hardware=hardware,
            min_cuda=_CUDA_OF_DRIVER.get(row.driver or 0, "") if row is not None and hardware.cpu is None else "",
            disk=self._disk(),
            data_center=await self._data_center(hardware, market),
            username=username,
            password=password,
            existing_template=self._template.get("id", ""),
            template_ports=tuple(self._template.get("ports", ())),
            template_registry=self._template.get("registry"),
        )
        if self._kind == "pod" and not {"API_KEYS", "API_KEYS_FILE"} & set(variables.values):
            self._notes.append("the pod's URL is open to everyone who knows it: set API_KEYS")
        existing = self._existing
        if self._kind == "pod" and existing is not None and existing["status"] == "EXITED":
            self._notes.append(f"the pod is stopped: `engineroom deployments start {self._name}`")
        price = await self._price(hardware, market)
        return Prepared(spec, market.catalog, price, (*self._notes, *variables.notes))

    async def _price(self, hardware: Hardware, market: GpuMarket) -> float | None:
        if hardware.cpu is None:
            return gpu_price(hardware, market.catalog, self._kind, self._file.cloud)
        flavour, vcpus = hardware.cpu
        for offer in await self._api.cpus():
            price = offer.price.secure_per_vcpu if self._kind == "pod" else offer.price.serverless_per_vcpu
            if offer.id == flavour and price is not None:
                return price * vcpus
        return None

    @property
    def _existing(self) -> Mapping[str, Any] | None:
        """The deployment, where it exists already."""
        path = PODS.path if self._kind == "pod" else ENDPOINTS.path
        return next((each for each in self._present[path] if plain_name(each["name"]) == self._name), None)

    @property
    def _same_model(self) -> bool:
        """Whether what exists serves the model that is wanted, so that what was chosen for it still counts."""
        existing = self._existing
        return existing is not None and existing["env"].get("MODEL_NAME", "") == self._settings.model

    @property
    def _named_image(self) -> str:
        """The image that the file or the template names; empty where one of ours is to be chosen."""
        return self._file.image or str(self._template.get("image") or "")

    def _check_other_kind(self) -> None:
        other = ENDPOINTS if self._kind == "pod" else PODS
        for each in self._present[other.path]:
            if plain_name(each["name"]) == self._name:
                raise PlanError(
                    f"the name {self._name} belongs to the {other.word} {each['id']}, and a {self._kind} is wanted: "
                    f"delete it (`engineroom deployments delete {self._name}`), or choose another name"
                )

    async def _hardware(self, market: GpuMarket) -> Hardware:
        file = self._file
        needs_gpu = {sm for row in self._matrix.rows if row.engine == self._settings.engine.name for sm in row.sm}
        # What an image runs on that is none of ours is for its maker to say.
        row = self._matrix.row_of(self._named_image) if self._named_image else None
        suits = set(row.sm if row is not None else ()) if self._named_image else needs_gpu
        if file.cpu is not None:
            return Hardware(cpu=(file.cpu.id, file.cpu.vcpus), reason="named")
        if file.gpu:
            return named_hardware(file.gpu, file.gpu_count or 1, market, self._kind, file.cloud, suits)
        if self._same_model and file.gpu_count is None:
            kept = self._kept_hardware(market)
            if kept is not None:
                return kept
        profile = self._settings.engine.memory
        if profile is None:
            if needs_gpu:
                message = "which GPU? How the engine uses memory is not known, so none can be chosen for it"
                raise SettingsError([Problem("gpu", message)])
            return cheapest_cpu(await self._api.cpus(), _CPUS)
        model = self._read_model()
        demand = demand_of(model, self._settings)
        return fitting_hardware(model, profile, demand, market, self._kind, file.cloud, suits, file.gpu_count)

    def _kept_hardware(self, market: GpuMarket) -> Hardware | None:
        """What it runs on now: prices change daily, and a deployment does not move each time."""
        existing = self._existing
        assert existing is not None
        gpu = existing.get("gpu")
        cpus = existing.get("cpu")
        if cpus:
            first = cpus[0] if isinstance(cpus, list) else cpus
            return Hardware(cpu=(first["id"], first["vcpuCount"]), reason="as it is")
        if gpu is None:
            return None
        if self._kind != "pod":
            return Hardware(
                pools=tuple(gpu["pools"]), excluded=tuple(gpu["excludedTypes"]), count=gpu["count"], reason="as it is"
            )
        types = [each for each in market.catalog.gpus if each.id == gpu["id"]]
        return Hardware(pods=(GpuChoice(types[0], gpu["count"]),), reason="as it is") if types else None

    def _read_model(self) -> ModelMemory:
        if not self._settings.model:
            several = "with several models it is yours to say how much is loaded at a time; name GPUs under `gpu`"
            reason = several if self._settings.env.get("MODELS") else "no model is named from which it could be told"
            raise SettingsError([Problem("gpu", f"which GPU? {reason[0].upper()}{reason[1:]}")])
        if self._model is None:
            self._model = look_up(self._settings.model, self._settings.env)
        return self._model

    def _image(self, hardware: Hardware, market: GpuMarket) -> tuple[str, Image | None]:
        """The image's full name, and its row of the matrix where it is one of ours."""
        named = self._named_image
        if named:
            return named, self._matrix.row_of(named)
        types = hardware.types(market.catalog)
        row = self._matrix.choose(self._settings.engine.name, _capabilities(types), self._file.cuda)
        env = self._settings.env
        tag = env.get(IMAGE_TAG, __version__)
        name = self._matrix.full_name(row, tag, env.get(IMAGE_REPOSITORY, ""))
        self._check_pullable(name)
        return str(name), row

    def _check_pullable(self, name: ImageName) -> None:
        if not name.owned:
            message = (
                "is not set, and RunPod pulls images from a registry: build and push one, and say where it is, e.g. "
                "IMAGE_REPOSITORY=ghcr.io/me/engineroom; or name a whole image under `image`"
            )
            raise SettingsError([Problem(IMAGE_REPOSITORY, message)])

    def _variables(self, hardware: Hardware) -> WorkerVariables:
        given: dict[str, str] = {**self._template.get("env", {}), **self._file.env}
        for name in ("WORKER", "PORT_HEALTH"):
            if name not in self._file.env:
                given.pop(name, None)
        if self._settings.model:
            given.setdefault("MODEL_NAME", self._settings.model)
        if self._file.image is not None or self._template:
            # Which engine is in an image that is none of ours is known to nobody but the user.
            given.setdefault("ENGINE", self._settings.engine.name)
        profile = self._settings.engine.memory
        count = max([hardware.count, *(choice.count for choice in hardware.pods)])
        setting = profile.parallel_setting if profile is not None else ""
        if count > 1 and setting and setting not in self._settings.env:
            given.setdefault(setting, str(count))
        return worker_variables(self._settings.env, self._settings.engine, self._kind, given, self._file.secrets)

    def _disk(self) -> int:
        if self._file.disk is not None:
            return self._file.disk
        existing = self._existing
        if existing is not None and self._same_model and existing.get("disk"):
            return int(existing["disk"])
        least = max(DISK_GB, int(self._template.get("disk") or 0))
        if self._file.volume is not None or self._model is None:
            return least
        return max(least, math.ceil(self._model.stored_bytes / 1e9) + _BESIDE_MODEL_GB)

    async def _data_center(self, hardware: Hardware, market: GpuMarket) -> str:
        volume = self._file.volume
        if volume is None:
            return ""
        for each in self._present[VOLUMES.path]:
            if each["name"] == volume.name and volume.data_center is None:
                return str(each["dataCenter"])
        if volume.data_center is not None:
            return volume.data_center
        if self._file.data_centers:
            return self._file.data_centers[0]
        types = {gpu.id for gpu in hardware.types(market.catalog)}
        chosen = best_data_center(await self._api.data_centers(), types)
        if chosen is None:
            message = "which data center? None that has network volumes says that it has such GPUs now"
            raise SettingsError([Problem("volume.data_center", message)])
        return chosen

    def _credentials(self) -> tuple[str, str]:
        """User name and password for the registry; empty where the credential is there already."""
        section = self._file.registry
        if section is None:
            return "", ""
        exists = any(each["name"] == section.name for each in self._present[REGISTRIES.path])
        env = self._settings.env
        username = section.username or env.get("DOCKER_USERNAME", "")
        variable = section.password_from or "DOCKER_TOKEN"
        password = env.get(variable, "")
        problems = []
        if not exists and not username:
            problems.append(Problem("registry.username", "is needed to make the credential (or set DOCKER_USERNAME)"))
        if not exists and not password:
            problems.append(Problem(variable, "is not set: the registry's password or token, to make the credential"))
        if problems:
            raise SettingsError(problems)
        return username, password

    async def _existing_template(self) -> Mapping[str, Any]:
        """The template that the file names, by its id or its name; empty where there is none that can be used."""
        wanted = self._file.template
        if not isinstance(wanted, str):
            return {}
        public = [msgspec.to_builtins(each) for each in await self._api.public_templates()]
        templates: list[Mapping[str, Any]] = [*self._present[TEMPLATES.path], *public]
        for each in templates:
            if wanted in (each["id"], each["name"]):
                if each["serverless"] == (self._kind != "pod"):
                    return each
                meant = "endpoints" if each["serverless"] else "pods"
                self._notes.append(f"the template {wanted} is for {meant}; an image is used without it")
                return {}
        self._notes.append(f"there is no template {wanted}; an image is used without one")
        return {}


_OF_ENDPOINTS = ("workers", "scaling", "flashboot", "timeout")
_OF_PODS = ("cloud",)


def without_effect(file: DeploymentFile, kind: DeploymentKind) -> list[str]:
    """What the file has and this kind of deployment has no use for."""
    useless = _OF_ENDPOINTS if kind == "pod" else _OF_PODS
    return [f"{name} has no effect on a {kind}" for name in useless if name in file.model_fields_set]


def with_docker_login(file: DeploymentFile, env: Environment) -> DeploymentFile:
    """The file with a registry credential, where it has none and DOCKER_USERNAME and DOCKER_TOKEN are set."""
    username = env.get("DOCKER_USERNAME", "")
    if file.registry is not None or not username or not env.get("DOCKER_TOKEN"):
        return file
    section = RegistrySection.model_validate({"name": f"docker-{username}", "username": username})
    return file.model_copy(update={"registry": section})


_LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")


def best_data_center(offers: Sequence[DataCenterOffer], gpu_ids: Collection[str]) -> str | None:
    """The data centre with network volumes that has most of these GPUs free; any with volumes where no GPU is wanted,
    None where there is none."""

    def level(offer: DataCenterOffer) -> int:
        levels = [_LEVELS.index(stock.availability) for stock in offer.gpu_availability if stock.id in gpu_ids]
        return max(levels, default=0)

    able = [offer for offer in offers if offer.network_volume_types and (not gpu_ids or level(offer))]
    return max(able, key=lambda offer: (level(offer), offer.id)).id if able else None


def _capabilities(types: Sequence[CatalogGpu]) -> list[str]:
    return sorted({gpu.sm for gpu in types if gpu.sm is not None})
