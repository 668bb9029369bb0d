"""The engine's own settings; llama.cpp's flags are beside them, in flags.json."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field

from engineroom.models import HubSettings


class LlamaCppSettings(HubSettings):
    """What runs llama.cpp, and where its models come from."""

    title: ClassVar[str] = "llama.cpp"

    llama_server: str | None = Field(
        None,
        description="A `llama-server` binary to run. Default: the one on PATH if there is one, otherwise the "
        "`xllamacpp` library.",
    )
    model_revision: str | None = Field(
        None,
        validation_alias=AliasChoices("MODEL_REVISION", "REVISION"),
        description="A branch, tag or commit of the model's repository.",
    )
    llamacpp_python: str | None = Field(
        None, description="The Python whose `xllamacpp` library runs, even if there is a `llama-server` on PATH."
    )
