"""Settings as models: one frozen pydantic model for each concern, and what is said when a value is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, get_args, get_origin

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError

from ..errors import Problem, SettingsError
from .environment import Environment

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from typing_extensions import Self


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
    from .suggestions import suggest

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
