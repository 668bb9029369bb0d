"""Settings that are no flags of `vllm serve`: where vLLM and its files are, and worker-vllm's older names."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from engineroom.models import HubSettings
from engineroom.settings import Settings


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


class SpeculativeSettings(Settings):
    """worker-vllm's older names for speculative decoding, a field each; SPECULATIVE_CONFIG wins over them all."""

    title: ClassVar[str] = "vLLM: speculative decoding, older names"

    speculative_method: str | None = Field(None, description="`method` of SPECULATIVE_CONFIG.")
    speculative_model: str | None = Field(None, description="`model` of SPECULATIVE_CONFIG; `[ngram]` for n-grams.")
    num_speculative_tokens: int | None = Field(
        None, ge=0, description="`num_speculative_tokens` of SPECULATIVE_CONFIG."
    )
    ngram_prompt_lookup_max: int | None = Field(None, ge=0, description="`prompt_lookup_max` of SPECULATIVE_CONFIG.")
    ngram_prompt_lookup_min: int | None = Field(None, ge=0, description="`prompt_lookup_min` of SPECULATIVE_CONFIG.")
    speculative_draft_tensor_parallel_size: int | None = Field(
        None, ge=0, description="`draft_tensor_parallel_size` of SPECULATIVE_CONFIG."
    )
    speculative_max_model_len: int | None = Field(None, ge=0, description="`max_model_len` of SPECULATIVE_CONFIG.")

    def as_config(self) -> dict[str, Any] | None:
        """What SPECULATIVE_CONFIG would be; None where neither a method nor a model is named."""
        ngram = self.speculative_model == "[ngram]"
        if not self.speculative_method and not self.speculative_model:
            return None
        fields = {
            "method": self.speculative_method or ("ngram" if ngram else None),
            "model": None if ngram else self.speculative_model,
            "num_speculative_tokens": self.num_speculative_tokens,
            "prompt_lookup_max": self.ngram_prompt_lookup_max,
            "prompt_lookup_min": self.ngram_prompt_lookup_min,
            "draft_tensor_parallel_size": self.speculative_draft_tensor_parallel_size,
            "max_model_len": self.speculative_max_model_len,
        }
        return {name: value for name, value in fields.items() if value}
