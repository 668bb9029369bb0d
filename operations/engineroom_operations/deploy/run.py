"""One run of `engineroom deploy`, from the file to the first answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from engineroom.commands.screen import console
from engineroom.errors import Problem, SettingsError
from engineroom.hardware import Matrix
from engineroom.runpod_account import (
    RunPodAccount,
    balancer_url,
    port_of,
    queue_url,
    served_names,
)
from engineroom.settings import Environment

from ..progress_line import ProgressLine
from ..runpod_api.client import RunPodClient
from ..runpod_api.resources import ENDPOINTS, PODS
from .applying import carry_out
from .automatic import KindChoice, choose_kind
from .cost import cost_lines
from .deployment_file import DeploymentFile, read_deployment_file
from .engine_settings import engine_settings
from .first_answer import Deployed, FirstAnswer
from .observed import observe
from .plan import DeploymentPlan, make_plan
from .plan_table import difference_text, plan_table
from .preparing import Preparation, Prepared, with_docker_login
from .wanted import Specification, wanted_resources


class DeployRun:
    """Reads, plans, asks, changes, and waits.

    Args:
        overrides: fields of the file that the command line says instead.
        variables: more of the worker's variables, from the command line.
        confirm: asks whether to go on.
    """

    def __init__(
        self,
        file: Path | None,
        overrides: Mapping[str, Any],
        variables: Mapping[str, str],
        *,
        replace: bool,
        confirm: Callable[[], bool],
    ) -> None:
        self._path = file
        self._overrides = overrides
        self._variables = variables
        self._replace = replace
        self._confirm = confirm
        self._screen: Console = console()

    async def run(self, *, dry_run: bool, wait_limit: float | None) -> int:
        """The exit code: 0 when all is as it shall be; 1 when nobody agreed.

        Args:
            wait_limit: seconds to wait for the first answer; None not to wait.
        """
        env = Environment.load()
        account = RunPodAccount.load(env)
        file = self._read_file(env)
        matrix = Matrix.packaged()
        settings = engine_settings(env, file, matrix)
        name = file.name or name_of(settings.model or settings.engine.name)
        async with RunPodClient(account) as api:
            present = await observe(api)
            choice = await choose_kind(api, file, settings) if file.kind == "auto" else KindChoice(file.kind, "")
            kind = choice.kind
            if choice.reason:
                self._screen.print(Text.assemble("auto: a ", (kind, "bold"), f", because {choice.reason}\n"))
            prepared = await Preparation(api, file, settings, kind, name, matrix, present).prepare()
            wanted = wanted_resources(prepared.spec)
            plan = make_plan(wanted, present)
            self._show(plan, prepared)
            if not plan.changes:
                ids = plan.ids
            elif dry_run:
                self._screen.print("\nNothing was changed: this was a dry run.")
                return 0
            else:
                self._check_replacing(plan)
                if not self._confirm():
                    self._screen.print("Nothing was changed.")
                    return 1
                ids = await carry_out(api, plan, lambda line: self._screen.print(Text(line)))
                self._show_rest(make_plan(wanted, await observe(api)))
            if dry_run:
                return 0
            deployed = await self._deployed(api, prepared.spec, ids[wanted[-1].placeholder])
            self._show_address(deployed)
            if wait_limit is not None:
                with ProgressLine() as progress:
                    answer = await FirstAnswer(api, deployed, progress.show, wait_limit).wait()
                    seconds = progress.seconds
                self._screen.print(Text.assemble(f"first answer after {seconds:.1f} s: ", (answer.strip(), "green")))
        return 0

    def _read_file(self, env: Environment) -> DeploymentFile:
        file = read_deployment_file(self._path, self._overrides, Path.cwd())
        if self._variables:
            file = file.model_copy(update={"env": {**file.env, **self._variables}})
        return with_docker_login(file, env)

    def _show(self, plan: DeploymentPlan, prepared: Prepared) -> None:
        spec = prepared.spec
        self._screen.print(plan_table(plan))
        self._screen.print()
        for line in cost_lines(spec, prepared.usd_per_hour):
            self._screen.print(Text(f"cost    {line}"))
        self._screen.print(Text(f"runs on {self._hardware(prepared)}"))
        for note in prepared.notes:
            self._screen.print(Text(f"note    {note}", "yellow"))
        if not plan.changes:
            self._screen.print("Everything is as it shall be; nothing to change.")

    def _hardware(self, prepared: Prepared) -> str:
        hardware = prepared.spec.hardware
        if hardware.cpu is not None:
            return f"{hardware.cpu[1]} vCPUs of {hardware.cpu[0]} ({hardware.reason})"
        types = hardware.types(prepared.catalog)
        counts = {choice.gpu.id: choice.count for choice in hardware.pods}
        names = [f"{counts.get(gpu.id, hardware.count)} x {gpu.name}" for gpu in types]
        return f"{' or '.join(names) or ', '.join(hardware.pools)} ({hardware.reason})"

    def _check_replacing(self, plan: DeploymentPlan) -> None:
        replaced = [change for change in plan.changes if change.action == "replace"]
        if replaced and not self._replace:
            names = ", ".join(f"{change.wanted.kind.word} {change.wanted.name}" for change in replaced)
            message = f"RunPod cannot change this of the {names}: say --replace to delete it and create it anew"
            raise SettingsError([Problem("replace", message)])

    def _show_rest(self, plan: DeploymentPlan) -> None:
        """Say it where RunPod has taken a value and shows another."""
        for change in plan.changes:
            for difference in change.differences:
                text = difference_text(change.wanted, difference)
                line = f"note    RunPod shows another value for {change.wanted.kind.word} {change.wanted.name}: {text}"
                self._screen.print(Text(line, "yellow"))

    async def _deployed(self, api: RunPodClient, spec: Specification, resource_id: str) -> Deployed:
        models = served_names(spec.variables.values)
        model = models[0] if models else ""
        if spec.kind == "pod":
            url = api.account.pod_url(resource_id, port_of(spec.variables.values)) + "/v1"
            key = first_key(spec.variables.values.get("API_KEYS", ""))
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            await api.get(PODS, resource_id)
            return Deployed(spec.name, spec.kind, resource_id, url, model, headers)
        endpoint = await api.get(ENDPOINTS, resource_id)
        urls = endpoint.request_urls
        url = queue_url(urls) if spec.kind == "queue" else balancer_url(urls)
        return Deployed(spec.name, spec.kind, resource_id, url, model, api.account.headers)

    def _show_address(self, deployed: Deployed) -> None:
        key = "the key in API_KEYS" if deployed.kind == "pod" else "RUNPOD_API_KEY"
        lines: Sequence[tuple[str, str]] = [
            ("url", deployed.url),
            ("chat", f"engineroom chat {deployed.url if deployed.kind == 'pod' else deployed.name}"),
            ("key", key if deployed.headers else "none: it is open"),
            ("proxy", f"ENGINE=upstream UPSTREAM_RUNPOD={deployed.name} engineroom serve"),
        ]
        self._screen.print()
        self._screen.print(Text.assemble((deployed.name, "bold"), f" is a {deployed.kind} ({deployed.id})"))
        for word, text in lines:
            self._screen.print(Text.assemble((f"  {word:6}", "dim"), text), soft_wrap=True)


def name_of(model: str) -> str:
    """A deployment's name from a model's: `Qwen/Qwen3-8B` is `qwen3-8b`."""
    last = model.rstrip("/").rpartition("/")[2].partition(":")[0].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-._")[:63] or "engineroom"


def first_key(api_keys: str) -> str:
    """The first key of API_KEYS, which has `key` or `name:key`, separated by commas."""
    first = api_keys.partition(",")[0].strip()
    name, colon, secret = first.partition(":")
    return secret if colon else name
