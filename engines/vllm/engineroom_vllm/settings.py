"""Settings that are no flags of `vllm serve`: where vLLM and its files are, and more of its command line."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from engineroom.models import HubSettings


class VLLMSettings(HubSettings):
    """Where vLLM and its files are, and what is passed to it as it is."""

    title: ClassVar[str] = "vLLM"

    vllm_python: str | None = Field(
        None, description="The Python that has vLLM; looked for here, behind the `vllm` command and in python3."
    )
    vllm_config_file: str | None = Field(
        None, description="A YAML file of `vllm serve` flags; what is set here as well wins over it."
    )
    vllm_extra_args: str = Field("", description="More of `vllm serve`'s command line, written as in a shell.")
