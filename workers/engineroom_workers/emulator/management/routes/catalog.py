"""`/v2/catalog`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..catalog_views import GpuQuery, cpu_as_json, data_center_as_json, gpu_as_json
from ..problems import RequestProblem, no_such
from .requests import answer, query_bool, query_choice, query_int, query_list, wrong_query

Offer = TypeVar("Offer")

NEEDS_INCLUDE = ("product", "count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion", "vcpuCount")
"""Parameters that mean something for availability only."""


class CatalogRoutes:
    """GPUs, CPUs, data centres and public templates."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        return [
            Route("/v2/catalog/gpus", self.gpus, methods=["GET"]),
            Route("/v2/catalog/gpus/{id}", self.gpu, methods=["GET"]),
            Route("/v2/catalog/cpus", self.cpus, methods=["GET"]),
            Route("/v2/catalog/cpus/{id}", self.cpu, methods=["GET"]),
            Route("/v2/catalog/datacenters", self.data_centers, methods=["GET"]),
            Route("/v2/catalog/datacenters/{id}", self.data_center, methods=["GET"]),
            Route("/v2/catalog/templates", self.templates, methods=["GET"]),
        ]

    async def gpus(self, request: Request) -> Response:
        catalog = self._account.catalog
        query = _gpu_query(request)
        gpus = [gpu_as_json(catalog, gpu, query) for gpu in catalog.gpus.values()]
        if query is not None and query.countries:
            # What is in none of these countries drops out of the list; a single GPU is shown all the same.
            gpus = [gpu for gpu in gpus if "dataCenters" in gpu]
        return answer({"gpus": gpus})

    async def gpu(self, request: Request) -> Response:
        catalog = self._account.catalog
        return answer(gpu_as_json(catalog, _named(request, "GPU", catalog.gpus), _gpu_query(request)))

    async def cpus(self, request: Request) -> Response:
        catalog = self._account.catalog
        available = _wants_cpu_availability(request)
        return answer({"cpus": [cpu_as_json(catalog, cpu, available) for cpu in catalog.cpus.values()]})

    async def cpu(self, request: Request) -> Response:
        catalog = self._account.catalog
        return answer(cpu_as_json(catalog, _named(request, "CPU", catalog.cpus), _wants_cpu_availability(request)))

    async def data_centers(self, request: Request) -> Response:
        catalog = self._account.catalog
        include = _data_center_include(request)
        regions = query_list(request, "regions")
        types = set(query_list(request, "networkVolumeTypes", ("STANDARD", "HIGH_PERFORMANCE")))
        compliance = set(query_list(request, "compliance"))
        network = query_bool(request, "globalNetwork")
        centers = [
            center
            for center in catalog.data_centers.values()
            if (not regions or center.region in regions)
            and types <= set(center.volume_types)
            and compliance <= set(center.compliance)
            and network in (None, center.global_network)
        ]
        return answer({"dataCenters": [data_center_as_json(catalog, center, include) for center in centers]})

    async def data_center(self, request: Request) -> Response:
        catalog = self._account.catalog
        center = _named(request, "data center", catalog.data_centers)
        return answer(data_center_as_json(catalog, center, _data_center_include(request)))

    async def templates(self, request: Request) -> Response:
        """Nobody else has published any here."""
        query_choice(request, "source", ("official", "verified", "community"), "official")
        return answer({"templates": []})


def _named(request: Request, kind: str, offers: Mapping[str, Offer]) -> Offer:
    """The offer whose id is in the path. Raises RequestProblem where there is none."""
    offer_id = request.path_params["id"]
    if offer_id not in offers:
        raise no_such(kind, offer_id)
    return offers[offer_id]


def _gpu_query(request: Request) -> GpuQuery | None:
    """What is asked about availability; None if nothing is."""
    if not _includes_availability(request, ("POD", "CLUSTER", "SERVERLESS")):
        return None
    allowed = query_list(request, "cudaVersions")
    lowest = request.query_params.get("minCudaVersion")
    if allowed and lowest:
        raise RequestProblem(400, "cudaVersions and minCudaVersion exclude each other")
    for version in [*allowed, *([lowest] if lowest else [])]:
        if not all(part.isdecimal() for part in version.split(".", 1)) or (version in allowed and "." not in version):
            raise wrong_query(f"{version!r} is no CUDA version such as 12.8")
    countries = query_list(request, "countryCodes")
    for country in countries:
        if len(country) != 2 or not country.isascii() or not country.isupper():
            raise wrong_query(f"countryCodes: {country!r} is no code such as FR")
    return GpuQuery(
        tuple(query_list(request, "product")),
        query_int(request, "count", 1) or 1,
        query_choice(request, "cloud", ("SECURE", "COMMUNITY"), "SECURE") == "SECURE",
        tuple(countries),
        {"allowedCudaVersions": allowed, "minCudaVersion": lowest},
    )


def _wants_cpu_availability(request: Request) -> bool:
    count = query_int(request, "vcpuCount", 2)
    if count is not None and count & (count - 1):
        raise wrong_query(f"vcpuCount: {count} is not a power of two")
    return _includes_availability(request, ("POD", "SERVERLESS"))


def _includes_availability(request: Request, products: tuple[str, ...]) -> bool:
    """Whether availability is asked for; it needs a product, and other parameters need it."""
    included = bool(query_list(request, "include", ("AVAILABILITY",)))
    if included and not query_list(request, "product", products):
        raise RequestProblem(400, "include=AVAILABILITY needs product")
    if not included:
        for name in NEEDS_INCLUDE:
            if name in request.query_params:
                raise RequestProblem(400, f"{name} needs include=AVAILABILITY")
    return included


def _data_center_include(request: Request) -> list[str]:
    return query_list(request, "include", ("GPU_AVAILABILITY", "CPU_AVAILABILITY"))
