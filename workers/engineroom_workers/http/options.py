"""All of the door's settings, read together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from engineroom.errors import Problem, SettingsError
from engineroom.settings import Settings, WorkerSettings

from ..settings import DoorSettings
from .settings import AccessSettings, CacheSettings, HTTPSettings, LimitSettings, ObserveSettings, WatchSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    from engineroom.settings import Environment


S = TypeVar("S", bound=Settings)


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

    @classmethod
    def load(cls, env: Environment) -> Self:
        """Raises SettingsError with what is wrong in any of them."""
        problems: list[Problem] = []

        def read(model: type[S]) -> S:
            try:
                settings = model.load(env)
            except SettingsError as error:
                problems.extend(error.problems)
                settings = cast("S", model.model_construct())
            return settings

        options = cls(
            read(WorkerSettings),
            read(DoorSettings),
            read(HTTPSettings),
            read(AccessSettings),
            read(LimitSettings),
            read(WatchSettings),
            read(CacheSettings),
            read(ObserveSettings),
        )
        if options.observe.log_content and not options.observe.access_log:
            problems.append(Problem("LOG_CONTENT", "needs ACCESS_LOG=true: the content is part of those lines"))
        if options.observe.page and not options.observe.metrics:
            problems.append(Problem("PAGE", "needs METRICS=true: the page shows them"))
        if problems:
            raise SettingsError(problems)
        return options
