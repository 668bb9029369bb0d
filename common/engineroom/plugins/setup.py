"""An engine and what it is configured from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from ..engine import Engine, RunningEngine
from ..errors import EngineStartError, Problems, SettingsError
from ..settings.environment import Environment
from ..settings.name_check import NameCheck
from ..settings.worker import WorkerSettings
from .model_check import model_problem

logger = logging.getLogger(__name__)


Door = TypeVar("Door")
"""A door's own settings."""


class EngineChoice(NamedTuple):
    """An engine and what it is configured from.

    env: with other programs' names and the engine's defaults applied.
    place: where it stands in the table of several models, `models[2]`; empty where there is one model.
    """

    engine: type[Engine]
    worker: WorkerSettings
    env: Environment
    place: str = ""

    def make(self) -> Engine:
        """A configured engine, to start."""
        return self.engine.configure(self.worker, self.env)

    def safer(self, error: EngineStartError) -> Engine | None:
        """Another engine, with settings that need less memory, after a start that ran out of it; None where the engine
        knows of none, and where the user has set all of them.

        What the user has set stays as it is. The log says what is changed, and what is not.
        """
        if not error.safer:
            return None
        # An empty number box of a form is sent as 0.
        stay = [name for name in error.safer if self.env.source(name) != "default" and self.env[name] != "0"]
        changes = {name: value for name, value in error.safer.items() if name not in stay}
        kept = " and ".join(f"{name}={self.env[name]} (from {self.env.source(name)})" for name in stay)
        if not changes:
            wanted = " and ".join(f"{name}={value}" for name, value in error.safer.items())
            logger.warning("no second start: %s is not changed; %s might fit into memory", kept, wanted)
            return None
        changed = " ".join(f"{name}={value}" for name, value in changes.items())
        logger.warning(
            "%s; starting once more with %s, which needs less memory%s: set this to begin with it",
            error,
            changed,
            f"; {kept} stays" if kept else "",
        )
        try:
            return self.engine.configure(self.worker, self.env.with_arguments(changes, "second start"))
        except SettingsError as problem:
            logger.warning("no second start with %s: %s", changed, problem)
            return None


@dataclass(frozen=True, slots=True)
class Setup(Generic[Door]):
    """An engine, not yet started, and what it and the door were configured from.

    engine: of several models it is what runs an engine for each, `ResidentModels`.
    door: the door's own settings.
    env: with other programs' names and the engine's defaults applied.
    names: what became of the names in it.
    choices: the engine and what it is configured from; of several models, those of each.
    make: gives another engine of the same settings.
    notes: what the user did not say and should know: which engine was selected, which of two models counts.
    """

    engine: RunningEngine
    worker: WorkerSettings
    door: Door
    env: Environment
    names: NameCheck
    choices: tuple[EngineChoice, ...]
    make: Callable[[], RunningEngine]
    notes: tuple[str, ...] = ()

    @property
    def has_table(self) -> bool:
        """Whether there are several models, or one that is the only one of a table."""
        return bool(self.choices[0].place)

    def log_notes(self) -> None:
        """Write the notes to the log, which is configured from these very settings."""
        for note in [*self.notes, *self.names.granted_lines()]:
            logger.info("%s", note)
        for notice in self.names.warnings:
            logger.warning("%s", notice)

    def new_engine(self) -> RunningEngine:
        """Another engine of the same settings, to start in the place of one that has died."""
        return self.make()

    def safer_engine(self, error: EngineStartError) -> Engine | None:
        """See `EngineChoice.safer`. Several models see to it themselves, each for itself."""
        return None if self.has_table else self.choices[0].safer(error)


def configured(choice: EngineChoice, problems: Problems) -> Engine | None:
    """The engine, configured; None where a problem was added."""
    unusable_model = model_problem(choice.engine, choice.env)
    if unusable_model is not None:
        problems.extend([unusable_model])
    try:
        return choice.make()
    except SettingsError as error:
        # The engine's own word on a model that cannot be would only repeat ours.
        problems.extend(each for each in error.problems if each.variable != "MODEL_NAME" or not unusable_model)
        return None
