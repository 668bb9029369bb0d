"""`/v2/clusters`: the emulator has none."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..problems import RequestProblem, no_such
from .requests import answer


class ClusterRoutes:
    """An empty list, and a clear word for who wants a cluster."""

    def routes(self) -> list[Route]:
        return [
            Route("/v2/clusters", self.list, methods=["GET"]),
            Route("/v2/clusters", self.create, methods=["POST"]),
            Route("/v2/clusters/{id}", self.read, methods=["GET", "PATCH", "DELETE"]),
            Route("/v2/clusters/{id}/pods", self.read, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        return answer({"clusters": []})

    async def create(self, request: Request) -> Response:
        raise RequestProblem(501, "the emulator has no clusters")

    async def read(self, request: Request) -> Response:
        raise no_such("cluster", request.path_params["id"])
