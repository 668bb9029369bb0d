"""Settings as models: one frozen pydantic model for each concern, and what is said when a value is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast, get_args, get_origin

from pydantic import AliasChoices, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import Self

from ..errors import Problem, Problems, SettingsError
from .environment import Environment, Layer
from .limits import Limits
from .model_errors import explain
from .name_check import NameCheck
from .other_names import OtherName
from .secret_files import file_variable
from .values import plain, without_user_info


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to know of one setting; `engineroom config`, the Hub files and the README are made from it.

    kind: `string`, `number`, `boolean` or `json`.
    default: as an environment variable would carry it; None where there is none.
    limits: the range of its number in words, `at least 1`; empty where it has none.
    secret_in_text: of a secret one that names a file or holds the text itself, whether only that text is secret.
    """

    name: str
    kind: str = "string"
    default: str | None = None
    help: str = ""
    choices: tuple[str, ...] = ()
    limits: str = ""
    secret: bool = False
    aliases: tuple[str, ...] = ()
    secret_in_text: bool = False

    def hides(self, value: str) -> bool:
        """Whether a value of it may not be shown."""
        return self.secret and not (self.secret_in_text and not value.lstrip().startswith(("[", "{")))

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    def in_force(self, env: Environment) -> tuple[str | None, str]:
        """The raw value and where it comes from."""
        match = env.lookup(self.names)
        if match is None:
            unset = env.unset(self.names)
            return self.default, f"default; {unset}" if unset else "default"
        name, layer = match
        return layer.values[name], layer.source(name) if name == self.name else f"{layer.name} as {name}"


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


class LayerSource(PydanticBaseSettingsSource):
    """One layer of the environment, as pydantic-settings reads it.

    pydantic-settings' own sources would read each file again for each model, know no file that a variable names, and
    decode what is no plain value as JSON. The layers are read once, and flags of engines come from them, too.
    """

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """The field's text in this layer, the key by which the model takes it, and that nothing has to decode it."""
        name = self._layer.lookup(_names(field_name, field))
        text = None if name is None else self._layer.values[name]
        if text is not None and _is_a_word(field):
            text = _as_a_choice(plain(text), field)
        return text, _key(field_name, field), False

    def __call__(self) -> dict[str, str]:
        values = {}
        for field_name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, field_name)
            if value is not None:
                values[key] = value
        return values


class Settings(BaseSettings):
    """Base of every settings model.

    A field's environment name is its own in upper case; `Field(validation_alias=AliasChoices(...))` gives others,
    the canonical one first: it goes before the others of its layer, and any of them before those of lower layers.
    Fields carry a description: it is the user's documentation.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, validate_default=False, arbitrary_types_allowed=False
    )
    title: ClassVar[str] = ""
    other_names: ClassVar[Mapping[str, OtherName]] = {}
    """Names by which programs elsewhere call these settings -> what becomes of each."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The layers of the environment that `load` is given, highest first: the command line, baked arguments, the
        process environment, `.env`, the configuration file, the engine's defaults. A model that is made without an
        environment has only the values it is made with.
        """
        environment = init_settings().get("environment")
        if isinstance(environment, Environment):
            return tuple(LayerSource(settings_cls, layer) for layer in environment.layers)
        return (init_settings,)

    @classmethod
    def load(cls, env: Environment) -> Self:
        """Read the model from the environment.

        Raises:
            SettingsError: naming each variable that is wrong, where it was set, and what it takes.
        """
        problems = Problems()
        settings = cls.load_valid(env, problems)
        problems.check()
        return settings

    @classmethod
    def load_valid(cls, env: Environment, problems: Problems) -> Self:
        """Read the model, so that all else can be checked even where it is wrong: a wrong value counts as not set.

        Args:
            problems: what is wrong is added here; until it is checked, the settings may not be used.
        """
        env = cls._with_secrets(env, problems)
        try:
            settings = cls(environment=env)
        except ValidationError as error:
            fields_by_key = {_key(name, field): (name, field) for name, field in cls.model_fields.items()}
            wrong: list[str] = []
            for detail in error.errors(include_url=False):
                location = str(detail["loc"][0]) if detail["loc"] else cls.title
                name, field = fields_by_key.get(location, (location, FieldInfo()))
                names = _names(name, field)
                problems.extend([_problem(names, field, dict(detail), env)])
                wrong += names
            try:
                settings = cls(environment=env.without(wrong))
            except ValidationError:
                return cast("Self", cls.model_construct())  # mypy takes it for the base class's.
        try:
            settings.check()
        except SettingsError as error:
            problems.extend(
                each._replace(source=env.source(each.variable)) if each.variable in env and not each.source else each
                for each in error.problems
            )
        return settings

    @classmethod
    def _with_secrets(cls, env: Environment, problems: Problems) -> Environment:
        """The environment with this model's secrets, where they stand in files."""
        secrets = [name for setting in cls.describe() if setting.secret for name in setting.names]
        if not secrets:
            return env
        known = {name for setting in cls.describe() for name in setting.names}
        variables = {file_variable(name) for name in secrets} - known
        env = env.with_secrets(secrets, variables)
        for layer in env.layers:
            problems.extend(each for name, each in layer.unreadable.items() if name in variables or name in secrets)
        return env

    def check(self) -> None:
        """Check what takes more than to look at the values: the files that they name are opened here.

        Raises:
            SettingsError: with what is wrong.
        """

    def check_names(self, env: Environment, names: NameCheck) -> Sequence[Problem]:
        """What is wrong with names that were not taken for ours, now that these settings are known.

        Args:
            env: what these settings were read from.
            names: what became of the names in it.
        """
        return ()

    @classmethod
    def describe(cls) -> Sequence[Setting]:
        return [_setting(name, field) for name, field in cls.model_fields.items()]


def _names(field_name: str, field: FieldInfo) -> list[str]:
    """The environment names of a field, the canonical one first."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [alias] if isinstance(alias, str) else [field_name.upper()]


def _key(field_name: str, field: FieldInfo) -> str:
    """The key by which the model takes a field's value, and which stands in its errors."""
    return _names(field_name, field)[0] if field.validation_alias else field_name


def _problem(names: Sequence[str], field: FieldInfo, detail: Mapping[str, Any], env: Environment) -> Problem:
    match = env.lookup(names)
    limits = Limits.of(field.metadata)
    if match is None:
        return Problem(names[0], explain(detail, None, limits))
    name, layer = match
    text = None if SecretStr in _arguments(field) else without_user_info(layer.values[name])
    return Problem(name, explain(detail, text, limits), layer.source(name))


def _arguments(field: FieldInfo) -> tuple[Any, ...]:
    """The types that a field's value may have, or a `Literal`'s words."""
    return get_args(field.annotation) or (field.annotation,)


def _is_a_word(field: FieldInfo) -> bool:
    """Whether a value is one number or word, which holds no blanks and no comment."""
    return bool({bool, int, float} & {*_arguments(field)}) or get_origin(field.annotation) is Literal


def _as_a_choice(text: str, field: FieldInfo) -> str:
    """The field's word that `text` is in other letter case; `text` itself where it has no such word."""
    if get_origin(field.annotation) is not Literal:
        return text
    return next((word for word in _arguments(field) if str(word).lower() == text.lower()), text)


def _setting(field_name: str, field: FieldInfo) -> Setting:
    arguments = _arguments(field)
    literal = arguments if get_origin(field.annotation) is Literal else ()
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
        limits=Limits.of(field.metadata).words,
        secret=SecretStr in arguments,
        aliases=tuple(aliases),
    )
