"""`/v2/templates`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..bodies.templates import TemplateChange, TemplateCreation
from ..identifiers import new_id
from ..problems import no_such
from ..rules.references import check_registry
from ..rules.templates import created_template, updated_template
from .requests import answer, body_of, created, no_content


class TemplateRoutes:
    """Templates: container settings under a name."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        return [
            Route("/v2/templates", self.list, methods=["GET"]),
            Route("/v2/templates", self.create, methods=["POST"]),
            Route("/v2/templates/{id}", self.read, methods=["GET"]),
            Route("/v2/templates/{id}", self.update, methods=["PATCH"]),
            Route("/v2/templates/{id}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        return answer({"templates": list(self._account.templates.values())})

    async def create(self, request: Request) -> Response:
        given = (await body_of(request, TemplateCreation)).given()
        check_registry(given, self._account.registries)
        template = {"id": new_id(), **created_template(given)}
        self._account.templates[template["id"]] = template
        return created(template)

    async def read(self, request: Request) -> Response:
        return answer(self._find(request))

    async def update(self, request: Request) -> Response:
        template = self._find(request)
        given = (await body_of(request, TemplateChange)).given()
        check_registry(given, self._account.registries)
        template.update(updated_template(template, given))
        return answer(template)

    async def delete(self, request: Request) -> Response:
        del self._account.templates[self._find(request)["id"]]
        return no_content()

    def _find(self, request: Request) -> dict[str, Any]:
        template_id = request.path_params["id"]
        if template_id not in self._account.templates:
            raise no_such("template", template_id)
        return self._account.templates[template_id]
