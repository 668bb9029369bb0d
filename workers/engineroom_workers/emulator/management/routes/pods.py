"""`/v2/pods`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..account import Account
from ..bodies.pods import PodActionFields, PodChange, PodCreation
from ..pod import Pod
from ..problems import RequestProblem, no_such
from ..rules.pods import check_capacity, created_pod, updated_pod
from ..rules.references import check_registry, check_volumes
from ..rules.templates import template_for
from .log_stream import log_stream
from .requests import answer, body_of, created, no_content, query_bool


class PodRoutes:
    """Pods and what can be done with them."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        one = "/v2/pods/{id}"
        return [
            Route("/v2/pods", self.list, methods=["GET"]),
            Route("/v2/pods", self.create, methods=["POST"]),
            Route(one, self.read, methods=["GET"]),
            Route(one, self.update, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/logs", self.logs, methods=["GET"]),
            Route(f"{one}/action", self.act, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        query_bool(request, "includeClusterPods")
        return answer({"pods": [pod.as_json() for pod in self._account.pods.values()]})

    async def create(self, request: Request) -> Response:
        account = self._account
        given = (await body_of(request, PodCreation)).given()
        template = template_for(account.templates, given.pop("templateId", None), serverless=False)
        config = created_pod(given, template, account.catalog)
        centers = given.get("dataCenterIds", [])
        check_registry(config, account.registries)
        volumes = [mount["volumeId"] for mount in config["mounts"].get("network", ())]
        check_volumes(volumes, centers, account.volumes)
        places = [account.volumes[volume_id]["dataCenter"] for volume_id in volumes] or centers
        flags = {"startSsh": False, "startJupyter": False, **(template or {}), **given}
        return created(account.create_pod(config, places, flags["startSsh"], flags["startJupyter"]).as_json())

    async def read(self, request: Request) -> Response:
        return answer(self._find(request).as_json())

    async def update(self, request: Request) -> Response:
        account = self._account
        pod = self._find(request)
        given = (await body_of(request, PodChange)).given()
        template = template_for(account.templates, given.pop("templateId", None), serverless=False)
        config = updated_pod(pod.config, given, template)
        check_registry({**(template or {}), **given}, account.registries)
        pod.update(config)
        return answer(pod.as_json())

    async def delete(self, request: Request) -> Response:
        self._account.delete_pod(self._find(request))
        return no_content()

    async def act(self, request: Request) -> Response:
        pod = self._find(request)
        action = (await body_of(request, PodActionFields)).action
        if not pod.permits(action):
            raise RequestProblem(409, f"a pod that is {pod.status} does not take {action}")
        if pod.config["locked"] and action in ("stop", "restart"):
            raise RequestProblem(409, f"the pod is locked, and does not take {action}")
        if action == "terminate":
            self._account.delete_pod(pod)
            return no_content()
        if action == "start":
            check_capacity(pod.config, self._account.catalog)
        pod.act(action)
        return answer(pod.as_json())

    async def logs(self, request: Request) -> Response:
        return log_stream(request, self._find(request).log)

    def _find(self, request: Request) -> Pod:
        pod_id = request.path_params["id"]
        if pod_id not in self._account.pods:
            raise no_such("pod", pod_id)
        return self._account.pods[pod_id]
