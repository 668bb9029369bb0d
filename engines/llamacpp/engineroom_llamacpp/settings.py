"""The engine's own settings; llama.cpp's flags are beside them, in flags.json."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from engineroom.settings import Settings


class LlamaCppSettings(Settings):
    """What runs llama.cpp."""

    title: ClassVar[str] = "llama.cpp"

    llama_server: str | None = Field(
        None,
        description="A `llama-server` binary to run. By default the one on PATH, where there is one, else the "
        "`xllamacpp` library.",
    )
    base_path: str = Field(
        "/runpod-volume", description="The network volume: models in its Hugging Face cache are found there."
    )
    llamacpp_python: str | None = Field(
        None, description="The Python whose `xllamacpp` library is run, also where PATH has a `llama-server`."
    )
