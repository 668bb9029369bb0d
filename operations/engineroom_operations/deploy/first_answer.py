"""Waiting for a deployment's first answer, and seeing why there is none yet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import aiohttp

from engineroom.errors import EngineroomError
from engineroom.runpod_account import DeploymentKind
from engineroom.timeouts import timeout

from ..runpod_api.client import RunPodClient
from ..runpod_api.errors import RunPodApiError
from ..runpod_api.resources import PODS
from .worker_log import WorkerLog

_POLL_S = 1.0
_CANCEL_S = 10
_REQUEST = aiohttp.ClientTimeout(total=330, sock_connect=15)
"""A load balancer ends a request after five and a half minutes."""
_HOPELESS_S = 45.0
"""How long all workers may be unhealthy; RunPod replaces them, and the next may be well."""
_LINES = 8
PROMPT = "Say hello."
_TOKENS = 16


class NoAnswerError(EngineroomError):
    """A deployment did not answer. The text says why, as far as that can be known, and what goes on."""


class Deployed(NamedTuple):
    """Something deployed that can be asked.

    url: an OpenAI client's `base_url`. model: what to ask for; empty for whatever there is.
    headers: with the key that it takes.
    """

    name: str
    kind: DeploymentKind
    id: str
    url: str
    model: str
    headers: Mapping[str, str]


class FirstAnswer:
    """Asks a deployment until it answers, and watches what becomes of its workers.

    Args:
        show: called with the phase whenever it changes: `worker w1 is INITIALIZING: pulling the image`.
        limit: seconds, after which it is given up.
    """

    def __init__(self, api: RunPodClient, deployed: Deployed, show: Callable[[str], None], limit: float) -> None:
        self._api = api
        self._deployed = deployed
        self._show = show
        self._limit = limit
        self._phase = "waiting for a worker" if deployed.kind != "pod" else "waiting for the pod"
        self._log = WorkerLog(api)
        self._unhealthy_since: float | None = None

    async def wait(self) -> str:
        """The first answer's text.

        Raises:
            NoAnswerError: there is none, and why.
        """
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers=dict(self._deployed.headers), timeout=timeout) as session:
            asking = asyncio.ensure_future(self._ask_queue(session) if self._is_queue else self._ask_http(session))
            watching = asyncio.ensure_future(self._watch())
            try:
                done, _ = await asyncio.wait(
                    {asking, watching}, timeout=self._limit, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    raise NoAnswerError(await self._explained(f"no answer within {self._limit:.0f} s"))
                return next(iter(done)).result()
            finally:
                for task in (asking, watching):
                    task.cancel()
                await asyncio.gather(asking, watching, return_exceptions=True)
                await self._log.close()

    @property
    def _is_queue(self) -> bool:
        return self._deployed.kind == "queue"

    def _request(self) -> dict[str, Any]:
        model = {"model": self._deployed.model} if self._deployed.model else {}
        return {**model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": _TOKENS}

    async def _ask_queue(self, session: aiohttp.ClientSession) -> str:
        """Send a job and look for its result: a job waits for its worker, however long that takes to start."""
        base = self._deployed.url.removesuffix("/openai/v1")
        job = {"input": {"openai_route": "/v1/chat/completions", "openai_input": self._request()}}
        job_id = ""
        try:
            while True:
                if job_id:
                    status, answer = await self._exchange(session, f"{base}/status/{job_id}")
                else:
                    status, answer = await self._exchange(session, f"{base}/run", job)
                if status in (401, 403):
                    raise NoAnswerError(f"{base} refuses RUNPOD_API_KEY (HTTP {status})")
                state = str(answer.get("status", "")) if isinstance(answer, dict) else ""
                if status == 200 and not job_id:
                    job_id = str(answer.get("id", ""))
                if state == "COMPLETED":
                    job_id = ""
                    return _text(answer.get("output"))
                if state in ("FAILED", "TIMED_OUT", "CANCELLED"):
                    job_id = ""
                    reason = answer.get("error") or answer.get("output") or "no reason given"
                    raise NoAnswerError(await self._explained(f"the first job {state}: {_text(reason)}"))
                await asyncio.sleep(_POLL_S)
        finally:
            if job_id:
                # Nobody waits for it any more, and a worker would be started for it.
                await asyncio.shield(self._cancel(session, f"{base}/cancel/{job_id}"))

    async def _cancel(self, session: aiohttp.ClientSession, url: str) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            async with timeout(_CANCEL_S):
                await self._exchange(session, url, {})

    async def _ask_http(self, session: aiohttp.ClientSession) -> str:
        root = self._deployed.url.removesuffix("/v1")
        while True:
            status, answer = await self._exchange(session, f"{self._deployed.url}/models")
            if status == 200:
                break
            if status in (401, 403):
                key = "RUNPOD_API_KEY" if self._deployed.kind != "pod" else "the key of API_KEYS"
                raise NoAnswerError(f"{self._deployed.url} refuses {key} (HTTP {status})")
            _, health = await self._exchange(session, f"{root}/health")
            reason = health.get("reason") if isinstance(health, dict) else None
            if isinstance(reason, str) and reason:
                self._log.reason = reason
            await asyncio.sleep(_POLL_S)
        status, answer = await self._exchange(session, f"{self._deployed.url}/chat/completions", self._request())
        if status in (400, 404, 405):
            # A model that makes vectors has no chat, and is well all the same.
            return "(its models are listed; it has no chat)"
        if status != 200:
            raise NoAnswerError(
                await self._explained(f"the first chat was answered with HTTP {status}: {_text(answer)}")
            )
        return _text(answer)

    async def _exchange(self, session: aiohttp.ClientSession, url: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of an answer; 0 and nothing where there is none."""
        method = "GET" if body is None else "POST"
        try:
            async with session.request(method, url, json=body, timeout=_REQUEST) as answer:
                content = await answer.read()
                return answer.status, json.loads(content) if content else {}
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            return 0, {}

    async def _watch(self) -> str:
        while True:
            try:
                phase = await (self._pod_phase() if self._deployed.kind == "pod" else self._worker_phase())
            except RunPodApiError as error:
                if error.status == 404:
                    raise NoAnswerError(f"{self._deployed.name} was deleted meanwhile") from None
                phase = str(error).partition("\n")[0]
            line = self._log.line
            self._phase = f"{phase}: {line}" if line else phase
            self._show(self._phase)
            await asyncio.sleep(_POLL_S)

    async def _pod_phase(self) -> str:
        pod = await self._api.get(PODS, self._deployed.id)
        if pod.status in ("EXITED", "ERROR", "TERMINATED"):
            raise NoAnswerError(await self._explained(f"the pod is {pod.status}"))
        self._log.follow_pod(pod.id)
        return f"the pod is {pod.status}"

    async def _worker_phase(self) -> str:
        workers = [worker for worker in (await self._api.workers(self._deployed.id)).workers if not worker.is_stale]
        if not workers:
            self._unhealthy_since = None
            return "waiting for a worker"
        first = min(workers, key=lambda worker: _ORDER.get(worker.status, 9))
        self._log.follow_worker(self._deployed.id, first.id)
        if first.status == "UNHEALTHY":
            self._unhealthy_since = self._unhealthy_since or time.monotonic()
            if time.monotonic() - self._unhealthy_since > _HOPELESS_S:
                raise NoAnswerError(await self._explained(f"every worker is UNHEALTHY ({len(workers)})"))
        else:
            self._unhealthy_since = None
        if first.status == "THROTTLED":
            return f"worker {first.id} is THROTTLED, no GPU of its pools is free now"
        return f"worker {first.id} is {first.status}"

    async def _explained(self, what: str) -> str:
        """The reason with what the worker wrote last."""
        lines = await self._log.last_lines(_LINES)
        quoted = "".join(f"\n  {line}" for line in lines)
        where = f"\nThe last lines of its log:{quoted}" if lines else f"\nThe last phase: {self._phase}"
        return (
            f"{self._deployed.name} does not answer: {what}.{where}\n"
            f"It stays as it is: `engineroom deployments status {self._deployed.name}`, `… logs`, `… delete`"
        )


_ORDER = {"RUNNING": 0, "IDLE": 1, "INITIALIZING": 2, "THROTTLED": 3, "UNHEALTHY": 4}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _text(answer: Any) -> str:
    """What an answer says: a chat's text, an error's message, or its JSON."""
    if isinstance(answer, list) and len(answer) == 1:
        return _text(answer[0])
    if isinstance(answer, str):
        return _text(json.loads(answer)) if answer.startswith("{") and _is_json(answer) else answer
    if isinstance(answer, dict):
        error = answer.get("error")
        if error:
            return _text(error.get("message", error)) if isinstance(error, dict) else str(error)
        choices = answer.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            message = choices[0].get("message")
            if isinstance(message, dict):
                return str(message.get("content") or message.get("reasoning") or "(no text)")
    return json.dumps(answer, ensure_ascii=False)[:500]
