"""`/v2/network-volumes`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..bodies.others import VolumeChange, VolumeCreation
from ..problems import RequestProblem, no_such
from .requests import answer, body_of, created, no_content


class VolumeRoutes:
    """Network volumes."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        return [
            Route("/v2/network-volumes", self.list, methods=["GET"]),
            Route("/v2/network-volumes", self.create, methods=["POST"]),
            Route("/v2/network-volumes/{id}", self.read, methods=["GET"]),
            Route("/v2/network-volumes/{id}", self.update, methods=["PATCH"]),
            Route("/v2/network-volumes/{id}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        return answer({"networkVolumes": list(self._account.volumes.values())})

    async def create(self, request: Request) -> Response:
        given = (await body_of(request, VolumeCreation)).given()
        center = self._account.catalog.data_centers.get(given["dataCenter"])
        if center is None:
            raise RequestProblem(400, f"there is no data center {given['dataCenter']!r}")
        if not center.volume_types:
            raise RequestProblem(400, f"{center.id} has no network volumes")
        volume_type = given.get("type", center.volume_types[0])
        if volume_type not in center.volume_types:
            raise RequestProblem(400, f"{center.id} has no volumes of type {volume_type}")
        return created(self._account.create_volume({**given, "type": volume_type}))

    async def read(self, request: Request) -> Response:
        return answer(self._find(request))

    async def update(self, request: Request) -> Response:
        volume = self._find(request)
        given = (await body_of(request, VolumeChange)).given()
        if given.get("size", volume["size"]) < volume["size"]:
            raise RequestProblem(400, f"size: a volume of {volume['size']} GB cannot become smaller")
        self._account.update_volume(volume, given)
        return answer(volume)

    async def delete(self, request: Request) -> Response:
        volume = self._find(request)
        users = self._account.users_of_volume(volume["id"])
        if users:
            raise RequestProblem(400, f"the volume is in use by {', '.join(users)}")
        self._account.delete_volume(volume)
        return no_content()

    def _find(self, request: Request) -> dict[str, Any]:
        volume_id = request.path_params["id"]
        if volume_id not in self._account.volumes:
            raise no_such("network volume", volume_id)
        return self._account.volumes[volume_id]
