"""What every door and every engine shares."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field

from ..errors import Problem, SettingsError
from .base import CommaList, Settings


class WorkerSettings(Settings):
    """What every door and every engine shares."""

    title: ClassVar[str] = "Worker"

    engine: str | None = Field(
        None,
        description="The engine to run; `engineroom engines` lists them. Required if several are installed.",
    )
    model_name: str | None = Field(
        None,
        description="The model: a hub repository (`org/name`), a local folder or file.",
    )
    served_model_name: CommaList = Field(
        (),
        validation_alias=AliasChoices("OPENAI_SERVED_MODEL_NAME_OVERRIDE", "SERVED_MODEL_NAME"),
        description="The names by which clients ask for the model, separated by commas. Default: MODEL_NAME.",
    )
    engineroom_engines: CommaList = Field(
        (),
        description="The engine plugins that may be loaded, separated by commas. Default: all that are installed.",
    )
    start_timeout: float = Field(
        1200,
        gt=0,
        description="Seconds that the engine may take to become ready. After that the start has failed.",
    )
    request_timeout: float = Field(
        3600, gt=0, description="Seconds that one request may take in all. After that it is aborted with a 504."
    )
    max_request_mb: float = Field(
        32, gt=0, description="The largest request body in MB; a larger one is refused with a 413."
    )
    stop_timeout: float = Field(
        10, ge=0, description="Seconds that the engine's process has between SIGTERM and SIGKILL."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The lowest level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="`text` for people, `json` for machines.")
    engine_logs: bool = Field(True, description="Whether the output of the engine's process is copied to the log.")

    def required_model(self) -> str:
        """MODEL_NAME, for an engine without a default. Raises SettingsError where it is not set."""
        if not self.model_name:
            message = "which model to serve: a repository `org/name`, or a folder"
            raise SettingsError([Problem("MODEL_NAME", message)])
        return self.model_name

    @property
    def max_body(self) -> int:
        """Largest request body in bytes."""
        return int(self.max_request_mb * 1_000_000)
