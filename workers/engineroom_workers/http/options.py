"""All of the door's settings, read together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import Self

from engineroom.errors import Problem, Problems
from engineroom.settings import Environment, NameCheck, WorkerSettings

from ..settings import DoorSettings
from .settings import AccessSettings, CacheSettings, HTTPSettings, LimitSettings, ObserveSettings, WatchSettings

_USUAL_MEMORY = 160_000_000
_BODIES = 5
_POD_LAME_DUCK_S = 15.0
"""What Kubernetes' own advice is for a preStop hook: by then each node knows that a pod is on its way out."""
_LEAST_BODIES = 4
"""How many times MAX_REQUEST_MB all requests together may take, by default and at least: a body counts twice, as sent
and decoded, its values count extra, and an eighth is for small requests."""


class Options(NamedTuple):
    """The settings that the door goes by."""

    worker: WorkerSettings
    door: DoorSettings
    http: HTTPSettings
    access: AccessSettings
    limits: LimitSettings
    watch: WatchSettings
    cache: CacheSettings
    observe: ObserveSettings
    in_pod: bool = False
    """Whether it runs in a pod of Kubernetes."""

    @property
    def lame_duck(self) -> float:
        """Seconds for which requests are served once the door is not ready any more: as LAME_DUCK says, else 15 in a
        pod, whose address goes on getting requests for a while."""
        if self.http.lame_duck is None:
            return _POD_LAME_DUCK_S if self.in_pod else 0.0
        return self.http.lame_duck

    @property
    def page(self) -> bool:
        """Whether there is a page at `/`: as PAGE says, else where the door listens on loopback and has metrics."""
        if self.observe.page is None:
            return self.http.on_loopback and self.observe.metrics
        return self.observe.page

    @classmethod
    def load(cls, worker: WorkerSettings, env: Environment, names: NameCheck) -> Self:
        """Read the door's settings.

        Args:
            names: what became of the names in the environment.

        Raises:
            SettingsError: with what is wrong in any of them.
        """
        problems = Problems()
        options = cls(
            worker,
            DoorSettings.load_valid(env, problems),
            HTTPSettings.load_valid(env, problems),
            AccessSettings.load_valid(env, problems),
            LimitSettings.load_valid(env, problems),
            WatchSettings.load_valid(env, problems),
            CacheSettings.load_valid(env, problems),
            ObserveSettings.load_valid(env, problems),
            in_pod=bool(env.get("KUBERNETES_SERVICE_HOST")),
        )
        problems.extend(options.access.check_names(env, names))
        problems.extend(options.check_memory())
        problems.check()
        return options

    @property
    def request_memory(self) -> int:
        """Bytes for requests that do not run yet."""
        megabytes = self.limits.request_memory_mb
        return int(megabytes * 1_000_000) if megabytes else max(_USUAL_MEMORY, _BODIES * self.worker.max_body)

    def check_memory(self) -> Sequence[Problem]:
        """That a request of the size that is allowed would never find room."""
        least = _LEAST_BODIES * self.worker.max_body
        if self.request_memory >= least:
            return ()
        message = f"has to be at least {least / 1e6:g}, four times MAX_REQUEST_MB, or a body of that size has no room"
        return [Problem("REQUEST_MEMORY_MB", message)]

    @property
    def locked(self) -> bool:
        """Whether clients need a key."""
        return self.access.keys_in_use

    @property
    def open_to_all(self) -> bool:
        """Whether anyone who reaches this machine may use the door: no keys, and an address that is not loopback."""
        return not self.locked and not self.http.on_loopback
