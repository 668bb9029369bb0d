"""`/v2/registries` with their delegations, and `/v2/account/ssh-keys`."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..bodies.others import DelegationCreation, RegistryCreation, SshKeyFields
from ..identifiers import new_id, timestamp
from ..problems import RequestProblem, no_such
from ..rules.delegations import created_delegation
from .requests import answer, body_of, created, no_content


class RegistryRoutes:
    """Credentials of registries, of which nobody ever sees more than the name, and public SSH keys."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        return [
            Route("/v2/registries", self.list, methods=["GET"]),
            Route("/v2/registries", self.create, methods=["POST"]),
            Route("/v2/registries/delegations", self.list_delegations, methods=["GET"]),
            Route("/v2/registries/delegations", self.delegate, methods=["POST"]),
            Route("/v2/registries/delegations/{id}", self.revoke, methods=["DELETE"]),
            Route("/v2/registries/{id}", self.read, methods=["GET"]),
            Route("/v2/registries/{id}", self.delete, methods=["DELETE"]),
            Route("/v2/account/ssh-keys", self.ssh_keys, methods=["GET"]),
            Route("/v2/account/ssh-keys", self.replace_ssh_keys, methods=["PUT"]),
        ]

    async def list(self, request: Request) -> Response:
        return answer({"registries": list(self._account.registries.values())})

    async def create(self, request: Request) -> Response:
        given = await body_of(request, RegistryCreation)
        registry = {"id": new_id(), "name": given.name}
        self._account.registries[registry["id"]] = registry
        return created(registry)

    async def read(self, request: Request) -> Response:
        return answer(self._account.registries[self._find(request)])

    async def delete(self, request: Request) -> Response:
        registry_id = self._find(request)
        users = self._account.pods_with_registry(registry_id)
        if users:
            raise RequestProblem(400, f"the registry's credentials are in use by {', '.join(users)}")
        self._account.delete_registry(registry_id)
        return no_content()

    async def list_delegations(self, request: Request) -> Response:
        return answer({"delegations": list(self._account.delegations.values())})

    async def delegate(self, request: Request) -> Response:
        given = (await body_of(request, DelegationCreation)).given()
        delegation = {"id": new_id(), **created_delegation(given), "createdAt": timestamp(time.time())}
        self._account.delegations[delegation["id"]] = delegation
        return created(delegation)

    async def revoke(self, request: Request) -> Response:
        delegation_id = request.path_params["id"]
        if delegation_id not in self._account.delegations:
            raise no_such("delegation", delegation_id)
        del self._account.delegations[delegation_id]
        return no_content()

    async def ssh_keys(self, request: Request) -> Response:
        return answer({"keys": self._account.ssh_keys})

    async def replace_ssh_keys(self, request: Request) -> Response:
        self._account.ssh_keys = (await body_of(request, SshKeyFields)).keys
        return answer({"keys": self._account.ssh_keys})

    def _find(self, request: Request) -> str:
        registry_id: str = request.path_params["id"]
        if registry_id not in self._account.registries:
            raise no_such("registry", registry_id)
        return registry_id
