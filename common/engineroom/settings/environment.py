"""Where settings come from: layers, merged into one flat mapping of UPPER_SNAKE names to strings.

Highest first: the command line, model arguments baked into the image, the process environment, `.env`, files of
secrets, a configuration file, an engine's defaults; the models' own defaults are below them all. An empty value counts
as not set, since RunPod's console sends unset fields as empty strings.

The layers are the sources of every settings model (`Settings.settings_customise_sources`); an engine's flags are read
from the merged mapping.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import Problem, SettingsError
from .files import read_text
from .near_names import is_link
from .other_names import OtherName
from .secret_files import SECRETS_DIR, file_variable, read_secret, secret_files
from .values import plain, unquoted

BAKED_ARGS = "/local_model_args.json"
"""Where an image with a baked model keeps its arguments."""


_MODEL_KEYS = {"name", "path"}
"""Of the section `model` in the files of programs that have one: a repository, and where it is on this machine."""


class Layer(NamedTuple):
    """One source of settings.

    owned: everything in it is meant for us, so any unknown name is a mistake.
    renamed: settings whose value stands here under another name -> that name.
    unset: variables whose value here counts as not set -> that value.
    sections: names under which a file has a mapping instead of one value.
    files: settings -> a file with the value of each, which is read where that setting is a secret.
    unreadable: settings, or the variables that name their files -> why such a file could not be read.
    """

    name: str
    values: Mapping[str, str]
    owned: bool
    renamed: Mapping[str, str] = MappingProxyType({})
    unset: Mapping[str, str] = MappingProxyType({})
    sections: Collection[str] = ()
    files: Mapping[str, Path] = MappingProxyType({})
    unreadable: Mapping[str, Problem] = MappingProxyType({})

    def lookup(self, names: Iterable[str]) -> str | None:
        """The first of `names` that is set here."""
        return next((name for name in names if self.values.get(name)), None)

    def source(self, name: str) -> str:
        """Where a value of this layer comes from, for people; with the other name that it stands under, if it does."""
        file = self.files.get(self.renamed.get(name, name))
        if file is not None:
            return str(file)
        return f"{self.name} as {self.renamed[name]}" if name in self.renamed else self.name


class Environment(Mapping[str, str]):
    """The layers merged; remembers where each value came from."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._merged: dict[str, tuple[str, str]] = {}
        for layer in reversed(self.layers):
            self._merged.update(
                {name: (value, layer.source(name)) for name, value in layer.values.items() if value != ""}
            )

    @classmethod
    def of(cls, values: Mapping[str, Any], name: str = "arguments") -> Environment:
        """An environment of one layer, for tests and for programs that embed an engine."""
        return cls([Layer(name, {key: as_text(value) for key, value in values.items()}, owned=True)])

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Environment:
        """Read all layers.

        Args:
            environ: the process environment; `os.environ` by default.
            directory: where `.env` is looked for; the working directory by default.

        `ENGINEROOM_BAKED_ARGS` names another file of baked arguments, `ENGINEROOM_CONFIG` the configuration file
        (YAML or JSON: a mapping of names, in either case, to values), `ENGINEROOM_SECRETS_DIR` another folder of
        secrets than `/run/secrets`; none of its files is read yet (`with_secrets`).

        Raises:
            SettingsError: a file or folder that was named is missing, or one that is there cannot be read.
        """
        environ = os.environ if environ is None else environ
        dotenv = (directory or Path.cwd()) / ".env"
        layers = [Layer("environment", {name: unquoted(value) for name, value in environ.items()}, owned=False)]
        if dotenv.is_file():
            from dotenv import dotenv_values

            text = read_text(dotenv, ".env", may_be_empty=True)
            # Shared by custom: Compose and other programs keep their variables in the same file.
            values = {name: unquoted(value or "") for name, value in dotenv_values(stream=StringIO(text)).items()}
            layers.append(Layer(".env", values, owned=False))
        folder = environ.get("ENGINEROOM_SECRETS_DIR")
        if files := secret_files(Path(folder or SECRETS_DIR), named=bool(folder)):
            layers.append(Layer("secret files", {}, owned=False, files=files))
        if named := environ.get("ENGINEROOM_CONFIG"):
            layers.append(_file_layer(Path(named), "ENGINEROOM_CONFIG", f"config file {named}"))
        baked = Path(environ.get("ENGINEROOM_BAKED_ARGS") or BAKED_ARGS)
        if baked.is_file() or environ.get("ENGINEROOM_BAKED_ARGS"):
            layers.insert(0, _file_layer(baked, "ENGINEROOM_BAKED_ARGS", f"baked arguments {baked}"))
        return cls(layers)

    def __getitem__(self, name: str) -> str:
        return self._merged[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._merged)

    def __len__(self) -> int:
        return len(self._merged)

    def source(self, name: str) -> str:
        """The layer that `name`'s value comes from; "default" where none has it."""
        return self._merged[name][1] if name in self._merged else "default"

    def lookup(self, names: Sequence[str]) -> tuple[str, Layer] | None:
        """Which of `names`, all of which mean one setting, is in force, and the layer that sets it; None where no
        layer does. The highest layer counts, and in it the first of the names.
        """
        for layer in self.layers:
            name = layer.lookup(names)
            if name is not None:
                return name, layer
        return None

    def unset(self, names: Collection[str]) -> str | None:
        """What stands in the highest layer for one of `names` and counts as not set, for people; None where nothing
        does."""
        places = ((layer, name) for layer in self.layers for name in names if name in layer.unset)
        return next((f"{layer.name} has {layer.unset[name]}, which counts as not set" for layer, name in places), None)

    def with_arguments(self, values: Mapping[str, str], name: str = "command line") -> Environment:
        """A copy with one more layer above all others; everything in it is meant for us."""
        return Environment([Layer(name, values, owned=True), *self.layers])

    def without(self, names: Iterable[str]) -> Environment:
        """A copy in which no layer has any of `names`."""
        left_out = set(names)
        return Environment(
            [
                layer._replace(values={name: value for name, value in layer.values.items() if name not in left_out})
                for layer in self.layers
            ]
        )

    def with_other_names(self, names: Mapping[str, OtherName]) -> Environment:
        """A copy in which each layer's value under another program's name counts as ours', unless that layer also
        has ours.

        Args:
            names: other names -> what becomes of them; those that are not taken are left alone.
        """
        return Environment([_renamed(layer, names) for layer in self.layers])

    def with_secrets(self, names: Collection[str], variables: Collection[str]) -> Environment:
        """A copy in which each secret counts that stands in a file.

        Args:
            names: settings that are secrets, by all of their names; nothing else is read from such a file.
            variables: those that name a secret's file, `HF_TOKEN_FILE` for HF_TOKEN. A layer's own value goes first.
        """
        return Environment([_with_secrets(layer, names, variables) for layer in self.layers])

    def without_sections(self, refused: Callable[[str], bool]) -> Environment:
        """A copy in which a section counts as nothing's value where `refused` says so of its name; that the file has
        it stays known."""
        return Environment([_without_sections(layer, refused) for layer in self.layers])

    def with_unset(self, unset: Mapping[str, Collection[str]]) -> Environment:
        """A copy without the values that count as not set.

        Args:
            unset: variables -> such values of theirs, beside an empty one.
        """
        return Environment([_without_unset(layer, unset) for layer in self.layers])

    def with_defaults(self, values: Mapping[str, str], name: str = "default") -> Environment:
        """A copy with one more layer below all others."""
        return Environment([*self.layers, Layer(name, values, owned=False)])


def _renamed(layer: Layer, names: Mapping[str, OtherName]) -> Layer:
    values = {name: value for name, value in layer.values.items() if value}
    renamed = dict(layer.renamed)
    for name, other in names.items():
        if other.outcome != "taken" or name not in values:
            continue
        # What Kubernetes sets for a service beside us is no value of anybody's.
        if values.get(other.ours) or (not layer.owned and is_link(name, values[name])):
            continue
        values[other.ours] = other.convert(values[name]) if other.convert else values[name]
        renamed[other.ours] = name
    return layer._replace(values=values, renamed=renamed)


def _with_secrets(layer: Layer, names: Collection[str], variables: Collection[str]) -> Layer:
    values = dict(layer.values)
    renamed = dict(layer.renamed)
    unreadable = dict(layer.unreadable)
    for name in names:
        variable = file_variable(name)
        named = variable if variable in variables and values.get(variable) else None
        file = Path(values[variable]).expanduser() if named else layer.files.get(name)
        if file is None or values.get(name):
            continue
        try:
            values[name] = read_secret(file, named or name, may_be_empty=named is None)
        except SettingsError as error:
            unreadable[named or name] = error.problems[0]._replace(source=layer.name if named else str(file))
            continue
        if named:
            renamed[name] = named
    return layer._replace(values=values, renamed=renamed, unreadable=unreadable)


def _without_sections(layer: Layer, refused: Callable[[str], bool]) -> Layer:
    left_out = {name for name in layer.sections if refused(name)}
    if not left_out:
        return layer
    return layer._replace(values={name: value for name, value in layer.values.items() if name not in left_out})


def _without_unset(layer: Layer, unset: Mapping[str, Collection[str]]) -> Layer:
    dropped = {name: value for name, value in layer.values.items() if name in unset and plain(value) in unset[name]}
    if not dropped:
        return layer
    values = {name: value for name, value in layer.values.items() if name not in dropped}
    return layer._replace(values=values, unset={**layer.unset, **dropped})


def as_text(value: Any) -> str:
    """A value from a JSON or YAML file as an environment variable would carry it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def read_mapping(path: Path, variable: str) -> dict[str, Any]:
    """The content of a YAML or JSON file that holds a mapping; nothing for one of comments.

    Args:
        variable: the setting that names the file.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    import yaml

    text = read_text(path, variable)
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise SettingsError([Problem(variable, f"{path} is not valid YAML or JSON{line}: {reason}")]) from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError([Problem(variable, f"{path} must hold a mapping of names to values")])
    return {str(key): value for key, value in values.items()}


def _file_layer(path: Path, variable: str, name: str) -> Layer:
    mapping = {key.upper().replace("-", "_"): value for key, value in read_mapping(path, variable).items()}
    model = mapping.get("MODEL")
    if isinstance(model, dict) and model.keys() <= _MODEL_KEYS:
        mapping["MODEL"] = model.get("path") or model.get("name")
    values = {key: as_text(value) for key, value in mapping.items()}
    return Layer(name, values, True, sections=[key for key, value in mapping.items() if isinstance(value, dict)])
