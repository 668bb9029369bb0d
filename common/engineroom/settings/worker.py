"""What every door and every engine shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator

from ..errors import Problem, SettingsError
from .base import CommaList, Settings
from .other_names import OtherName, doubted, refused, taken


class WorkerSettings(Settings):
    """What every door and every engine shares."""

    title: ClassVar[str] = "Worker"
    other_names: ClassVar[Mapping[str, OtherName]] = {
        **taken("ENGINE", ("ENGINE_NAME", "INFERENCE_ENGINE")),
        **doubted(
            "ENGINE", "the engine", ("ENGINE_TYPE", "INFERENCE_BACKEND", "LLM_BACKEND", "LLM_ENGINE", "MODEL_BACKEND")
        ),
        **taken(
            "MODEL_NAME",
            (
                "MODEL",
                "MODEL_ID",
                "MODEL_PATH",
                "MODEL_FILE",
                "MODEL_REPO",
                "MODEL_REPO_ID",
                "MODEL_NAME_OR_PATH",
                "HF_MODEL",
                "HF_MODEL_ID",
                "MODEL_DIR",
                "GGUF_PATH",
            ),
        ),
        **doubted(
            "MODEL_NAME",
            "the one model that this server has",
            (
                "DEFAULT_MODEL",
                "INFERENCE_MODEL",
                "LLM_MODEL",
                "LOCAL_MODEL_PATH",
                "MODEL_LOCAL_PATH",
                "MODEL_STORAGE_PATH",
            ),
        ),
        **taken(
            "OPENAI_SERVED_MODEL_NAME_OVERRIDE",
            ("MODEL_ALIAS", "MODEL_SERVED_NAME", "OPENAI_SERVED_MODEL_NAME", "SERVED_MODEL", "SERVED_MODEL_NAMES"),
        ),
        **doubted("OPENAI_SERVED_MODEL_NAME_OVERRIDE", "the names that clients ask for", ("ALIAS",)),
        **doubted(
            "",
            "set ENGINEROOM_CONFIG to a YAML or JSON file of settings",
            ("CONFIG_PATH", "CONFIG_FILE", "ENGINEROOM_CONFIG_FILE", "ENGINEROOM_CONFIG_PATH"),
        ),
        **refused(
            "START_TIMEOUT",
            "a number of seconds",
            ("LOAD_TIMEOUT", "MODEL_LOAD_TIMEOUT", "READY_TIMEOUT", "STARTUP_TIMEOUT"),
        ),
        **doubted("REQUEST_TIMEOUT", "a number of seconds", ("INFERENCE_TIMEOUT", "GENERATION_TIMEOUT", "TIMEOUT")),
        **refused(
            "ENGINE_HANG_TIMEOUT",
            "a number of seconds",
            (
                "ENGINE_LIVENESS_TIMEOUT",
                "ENGINE_WATCHDOG_TIMEOUT",
                "HANG_TIMEOUT",
                "LIVENESS_TIMEOUT",
                "WATCHDOG_TIMEOUT",
            ),
        ),
        **refused(
            "MAX_REQUEST_MB",
            "a number of MB",
            (
                "CLIENT_MAX_BODY_SIZE",
                "MAX_BODY_SIZE",
                "MAX_PAYLOAD_SIZE",
                "MAX_REQUEST_BODY_SIZE",
                "MAX_REQUEST_SIZE",
                "MAX_REQUEST_SIZE_MB",
                "PAYLOAD_LIMIT",
            ),
        ),
        **doubted("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", ("LOGGING_LEVEL", "UVICORN_LOG_LEVEL")),
        **doubted("LOG_FORMAT", "`json` for a line of JSON each", ("JSON_LOGS", "JSON_OUTPUT", "LOG_JSON")),
    }

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
        32, gt=0, le=100_000, description="The largest request body in MB; a larger one is refused with a 413."
    )
    max_messages: int = Field(
        10_000,
        ge=0,
        description="Messages, their content parts and tool calls, or texts to embed or to rank, together. This and "
        "what follows: 0 is no limit.",
    )
    max_prompt_characters: int = Field(
        4_000_000,
        ge=0,
        description="Characters of text in one request: its prompt or messages, and the words that tell of its tools.",
    )
    max_choices: int = Field(128, ge=0, description="Choices of one request: `n`, or `best_of`, times its prompts.")
    max_top_logprobs: int = Field(128, ge=0, description="Alternatives to each token whose logprobs are asked for.")
    max_stop_strings: int = Field(64, ge=0, description="Stop strings, and other texts that end or steer an answer.")
    max_stop_length: int = Field(1_000, ge=0, description="Characters of one stop string.")
    max_list_entries: int = Field(1_024, ge=0, description="Entries of `logit_bias`, or of another list or object.")
    max_tools: int = Field(128, ge=0, description="Tools that a request offers.")
    max_schema_kb: int = Field(256, ge=0, description="kB of JSON schemas in one request, its tools' included.")
    max_schema_depth: int = Field(
        64, ge=0, description="Levels of objects and lists in a JSON schema, through its definitions, too."
    )
    max_schema_entries: int = Field(
        5_000, ge=0, description="Properties, required names, enumerated values and definitions of all JSON schemas."
    )
    max_schema_repetitions: int = Field(
        100_000, ge=0, description="The highest `minItems`, `maxItems`, `minLength` or `maxLength` of a JSON schema."
    )
    max_schema_name_length: int = Field(
        1_000, ge=0, description="Characters of a property's or definition's name in a JSON schema, or of a `$ref`."
    )
    max_ways: int = Field(
        1_000,
        ge=0,
        description="Ways that an answer can be on at one time: values of an `enum`, branches of an `anyOf`, optional "
        "properties of an object, alternatives of a regular expression.",
    )
    max_pattern_length: int = Field(
        2_000, ge=0, description="Characters of a regular expression, with what it repeats written out."
    )
    max_grammar_kb: int = Field(32, ge=0, description="Size of a grammar (GBNF, EBNF, Lark) in kB.")
    stop_timeout: float = Field(
        10, ge=0, description="Seconds that the engine's process has between SIGTERM and SIGKILL."
    )
    engine_hang_timeout: float = Field(
        120,
        ge=0,
        description="Seconds after which an engine that hangs is ended, as one that has died: it neither answers nor "
        "generates what it is asked for, and its processes take no processor time. After a tenth of that, at most six "
        "seconds, it gets no more requests until it answers again. With 0 it is never ended.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The lowest level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="`text` for people, `json` for machines.")
    engine_logs: bool = Field(True, description="Whether the output of the engine's process is copied to the log.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _warn_is_warning(cls, value: object) -> object:
        """Python's own logging takes both words."""
        return "WARNING" if isinstance(value, str) and value.lower() == "warn" else value

    @field_validator("engine_hang_timeout")
    @classmethod
    def _leaves_time_to_answer(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be at least 1, or 0 for never")
        return value

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
