"""`/v2/serverless`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..bodies.endpoints import EndpointChange, EndpointCreation
from ..endpoint import Endpoint
from ..problems import no_such
from ..rules.endpoints import created_endpoint, updated_endpoint
from ..rules.references import check_registry, check_volumes
from ..rules.templates import template_for
from .log_stream import log_stream
from .requests import answer, body_of, created, no_content


class EndpointRoutes:
    """Serverless endpoints, their workers and releases."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        one = "/v2/serverless/{id}"
        return [
            Route("/v2/serverless", self.list, methods=["GET"]),
            Route("/v2/serverless", self.create, methods=["POST"]),
            Route(one, self.read, methods=["GET"]),
            Route(one, self.update, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/workers", self.workers, methods=["GET"]),
            Route(f"{one}/releases", self.releases, methods=["GET"]),
            Route(f"{one}/workers/{{worker_id}}/logs", self.logs, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        return answer({"endpoints": [endpoint.as_json() for endpoint in self._account.endpoints.values()]})

    async def create(self, request: Request) -> Response:
        account = self._account
        given = (await body_of(request, EndpointCreation)).given()
        template = template_for(account.templates, given.pop("templateId", None), serverless=True)
        config = created_endpoint(given, template, account.catalog)
        self._check_references(config, config)
        return created(account.create_endpoint(config).as_json())

    async def read(self, request: Request) -> Response:
        return answer(self._find(request).as_json())

    async def update(self, request: Request) -> Response:
        account = self._account
        endpoint = self._find(request)
        given = (await body_of(request, EndpointChange)).given()
        template = template_for(account.templates, given.pop("templateId", None), serverless=True)
        config = updated_endpoint(endpoint.config, given, template, account.catalog)
        # What was there before may be gone, and is not what the client asks for.
        self._check_references({**(template or {}), **given}, config)
        endpoint.update(config)
        return answer(endpoint.as_json())

    async def delete(self, request: Request) -> Response:
        self._account.delete_endpoint(self._find(request))
        return no_content()

    async def workers(self, request: Request) -> Response:
        return answer(self._find(request).workers_as_json())

    async def releases(self, request: Request) -> Response:
        return answer(self._find(request).releases_as_json())

    async def logs(self, request: Request) -> Response:
        """A worker's log; that of one that has ended can still be read."""
        worker_id = request.path_params["worker_id"]
        log = self._find(request).fleet.log_of.get(worker_id)
        if log is None:
            raise no_such("worker", worker_id)
        return log_stream(request, log)

    def _find(self, request: Request) -> Endpoint:
        endpoint_id = request.path_params["id"]
        if endpoint_id not in self._account.endpoints:
            raise no_such("endpoint", endpoint_id)
        return self._account.endpoints[endpoint_id]

    def _check_references(self, given: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        check_registry(given, self._account.registries)
        check_volumes(config["networkVolumes"], config["dataCenterIds"], self._account.volumes)
