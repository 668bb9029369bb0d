"""What can be set on the echo engine, for all requests or for one."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engineroom.errors import APIError
from engineroom.openai.validation import unknown_field
from engineroom.settings import Settings


class EchoSettings(Settings):
    """The engine's settings; `EchoOptions` says which a request can override."""

    title: ClassVar[str] = "Echo engine"

    echo_ttft_ms: float = Field(0, ge=0, description="Milliseconds to the first token.")
    echo_tokens_per_s: float = Field(
        0, ge=0, description="Tokens per second for each stream; 0 is as fast as possible."
    )
    echo_repeat: int = Field(1, ge=1, description="How many times a message is echoed.")
    echo_max_model_len: int = Field(131_072, ge=2, description="Prompt and completion tokens together, at most.")
    echo_start_s: float = Field(0, ge=0, description="Seconds that the start takes.")
    echo_fault: Literal["none", "start", "memory", "error", "hang", "die"] = Field(
        "none",
        description="`start` fails to start, `memory` does with an ECHO_MAX_MODEL_LEN of more than 4096; `error` fails "
        "the request, `hang` sends no more tokens, `die` ends the engine, each after ECHO_FAULT_AFTER tokens of a "
        "stream.",
    )
    echo_fault_after: int = Field(0, ge=0, description="Tokens of a stream before the fault.")


SAMPLING_PARAMS = frozenset({"chat_template_kwargs", "min_p", "repetition_penalty", "top_k"})
"""What steers a model's sampling, and so an engine's that has none: nothing."""

_SAMPLING = SAMPLING_PARAMS | {"frequency_penalty", "logit_bias", "presence_penalty", "verbosity"}


class EchoOptions(BaseModel):
    """How one request is to be served: the settings, unless the request has the field of the same name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    echo_ttft_ms: float = Field(ge=0)
    echo_tokens_per_s: float = Field(ge=0)
    echo_repeat: int = Field(ge=1)
    echo_fault: Literal["none", "error", "hang", "die"]
    echo_fault_after: int = Field(ge=0)
    ignore_eos: bool = False

    @classmethod
    def of(cls, settings: EchoSettings, params: Any) -> EchoOptions:
        """Raises APIError for a field that it does not have, or with a value that it cannot have."""
        for name in params:
            if name not in _SAMPLING and name not in cls.model_fields:
                raise unknown_field(name)
        try:
            of_requests = settings.model_dump()
            if settings.echo_fault in ("start", "memory"):
                of_requests["echo_fault"] = "none"
            return cls.model_validate({**of_requests, **params})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            param = str(first["loc"][0])
            raise APIError(f"Invalid '{param}': {first['msg']}.", param=param) from error
