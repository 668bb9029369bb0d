"""Settings as models: one frozen pydantic model for each concern, and what is said when a value is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, get_args, get_origin

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from .environment import Environment
from .errors import Problem, SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from typing_extensions import Self

    from .models import ModelFiles


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to know of one setting; `engineroom config`, the Hub files and the README are made from it.

    kind: `string`, `number`, `boolean` or `json`.
    default: as an environment variable would carry it; None where there is none.
    """

    name: str
    kind: str = "string"
    default: str | None = None
    help: str = ""
    choices: tuple[str, ...] = ()
    secret: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    def in_force(self, env: Environment) -> tuple[str | None, str]:
        """The raw value and where it comes from."""
        for name in self.names:
            if name in env:
                return env[name], env.source(name) + ("" if name == self.name else f" as {name}")
        return self.default, "default"


class SettingsGroup(Protocol):
    """Settings that belong together: a `Settings` model, or a table of an engine's flags."""

    @property
    def title(self) -> str: ...

    def describe(self) -> Sequence[Setting]: ...


def comma_list(value: Any) -> Any:
    """`a, b` or `["a", "b"]` as a tuple."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            import json

            return tuple(json.loads(text))
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return value


CommaList = Annotated[tuple[str, ...], BeforeValidator(comma_list)]


class Settings(BaseModel):
    """Base of every settings model.

    A field's environment name is its own in upper case; `Field(validation_alias=AliasChoices(...))` gives others,
    the canonical one first. Fields carry a description: it is the user's documentation.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
    title: ClassVar[str] = ""

    @classmethod
    def load(cls, env: Environment) -> Self:
        """Read the model from the environment.

        Raises:
            SettingsError: naming each variable that is wrong, where it was set, and what it takes.
        """
        values: dict[str, str] = {}
        used: dict[str, str] = {}
        for field_name, field in cls.model_fields.items():
            for name in _names(field_name, field):
                if name in env:
                    key = _names(field_name, field)[0] if field.validation_alias else field_name
                    values[key], used[field_name], used[key] = env[name], name, name
                    break
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(
                [
                    _problem(used.get(str(e["loc"][0]), str(e["loc"][0])) if e["loc"] else cls.title, e["msg"], env)
                    for e in error.errors(include_url=False)
                ]
            ) from error

    @classmethod
    def describe(cls) -> Sequence[Setting]:
        return [_setting(name, field) for name, field in cls.model_fields.items()]


def _names(field_name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [alias] if isinstance(alias, str) else [field_name.upper()]


def _problem(name: str, message: str, env: Environment) -> Problem:
    name = name if name in env else name.upper()
    message = message.removeprefix("Value error, ")
    return Problem(name, message[:1].lower() + message[1:], env.source(name) if name in env else "")


def _setting(field_name: str, field: FieldInfo) -> Setting:
    arguments = get_args(field.annotation) or (field.annotation,)
    literal = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    kinds = {bool: "boolean", int: "number", float: "number"}
    kind = next((kinds[a] for a in arguments if a in kinds), "string")
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    if isinstance(default, (tuple, list)):
        default = ",".join(map(str, default))
    elif isinstance(default, bool):
        default = str(default).lower()
    name, *aliases = _names(field_name, field)
    return Setting(
        name=name,
        kind=kind,
        default=None if default is None or default == "" else str(default),
        help=field.description or "",
        choices=tuple(map(str, literal)),
        secret=SecretStr in arguments,
        aliases=tuple(aliases),
    )


def check_unknown(env: Environment, groups: Iterable[SettingsGroup], also: Iterable[str] = ()) -> list[Problem]:
    """Problems for names that look like a mistyped setting.

    Every unknown name in a file of ours is one; in the process environment, which is shared with everything
    else, only a name so close to a setting that it can hardly mean anything else. `also` are further known names.
    """
    from .spelling import suggest

    known = {name for group in groups for setting in group.describe() for name in setting.names}
    known |= {"ENGINEROOM_CONFIG", "ENGINEROOM_BAKED_ARGS", *also}
    problems = []
    for layer in env.layers:
        for name, value in layer.values.items():
            if name in known or value == "" or layer.name == "default":
                continue
            meant = suggest(name, known, sure=not layer.owned)
            if meant is not None:
                problems.append(Problem(name, f"no such setting; did you mean {meant}?", layer.name))
            elif layer.owned:
                problems.append(Problem(name, "no such setting; `engineroom config` lists them all", layer.name))
    return problems


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

    @property
    def max_body(self) -> int:
        """Largest request body in bytes."""
        return int(self.max_request_mb * 1_000_000)


class HubSettings(Settings):
    """What engines share whose own client takes models from a hub."""

    base_path: str = Field(
        "/runpod-volume",
        description="A volume that outlives the worker. Models are kept there, and what the engine compiles.",
    )
    hf_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        description="The token for gated and private repositories of the Hugging Face Hub.",
    )

    def environ(
        self, env: Environment, names: Iterable[str] = (), compiled: tuple[str, str] | None = None
    ) -> dict[str, str]:
        """The environment for the engine's process: this one's, with its hub client's and caches' variables.

        Args:
            names: variables of the engine's own, taken from wherever they are set.
            compiled: the variable that says where it keeps what it compiles, and a folder's name: on the volume, or
                beside the models where HF_HOME names a place for them.
        """
        from .models import hub_environ, writable

        base = {**os.environ, **{name: env[name] for name in names if name in env}}
        baked = env.source("MODEL_NAME").startswith("baked")
        found = hub_environ(base, self.base_path, self.hf_token, baked=baked)
        kept = writable(self.base_path) or writable(found.get("HF_HOME", ""))
        if compiled and kept:
            found.setdefault(compiled[0], str(kept / compiled[1]))
        return found

    def find(self, model: str, revision: str | None, environ: Mapping[str, str]) -> ModelFiles:
        """The model's files, where they are there already: at its path, in a cache or on the volume."""
        from .models import cache_folders, resolve

        return resolve(model, revision, cache_folders(environ, self.base_path))
